// SPDX-License-Identifier: GPL-2.0

//! Memory of a differentiable neural computer: Graves et al., "Hybrid computing using a neural network
//! with dynamic external memory", Nature 538 (2016), the equations of its methods section.
//!
//! Content addressing is cosine similarity times the key strength, and then softmax; forward and
//! backward weightings and reads are products of matrices.

use super::f32_vector::Part;
use crate::f32_args::{AllocationF32, LinkF32, MixF32, UsageF32, WriteF32};

leaf! {
    /// [`MixF32`].
    fn mix_f32(a: MixF32) = neural_mix_f32_avx2, neural_mix_f32_avx512 {
        let f = [V::splat_bits(a.f[0]), V::splat_bits(a.f[1]), V::splat_bits(a.f[2])];
        each_vector!(V, a.n, |i, part| {
            let p: V = part.load(a.x[0].cast::<f32>().add(i));
            let q: V = part.load(a.x[1].cast::<f32>().add(i));
            let r: V = part.load(a.x[2].cast::<f32>().add(i));
            let v = f[0].fma(p, f[1].fma(q, f[2].mul(r)));
            part.store(v, a.y.cast::<f32>().add(i));
        });
    }
}

leaf! {
    /// [`UsageF32`].
    fn usage_f32(a: UsageF32) = neural_usage_f32_avx2, neural_usage_f32_avx512 {
        let u: *mut f32 = a.u.cast();
        let one = V::splat(1.0);
        each_vector!(V, a.n, |i, part| {
            let old: V = part.load(u.add(i));
            let w: V = part.load(a.w.cast::<f32>().add(i));
            let mut v = w.fma(one.sub(old), old);
            for r in 0..a.heads {
                let free = V::splat(a.free.cast::<f32>().add(r).read_unaligned());
                let read: V = part.load(a.read.add(r * a.read_row).cast::<f32>().add(i));
                v = v.mul(free.fnma(read, one));
            }
            part.store(v, u.add(i));
        });
    }
}

leaf! {
    /// [`AllocationF32`].
    fn allocation_f32(a: AllocationF32) = neural_allocation_f32_avx2, neural_allocation_f32_avx512 {
        // Every row looks at all others: more work than sorting, but many at a time, without branches.
        let u: *const f32 = a.u.cast();
        let one = V::splat(1.0);
        each_vector!(V, a.rows, |i, part| {
            let at = a.first + i;
            let own: V = part.load(u.add(at));
            // Four products, so that multiplications do not wait for each other.
            let mut p = [one; 4];
            for j in 0..a.n {
                let other = V::splat(u.add(j).read_unaligned());
                // The lanes behind `j` have it before them if it is equal, those up to it do not.
                let later = V::head((j + 1).saturating_sub(at).min(V::LANES));
                let equal = V::select(own.less(other), V::zero(), one);
                let equal = V::select(later, V::zero(), equal);
                let before = V::select(other.less(own), one, equal);
                let factor = V::select(V::zero().less(before), other, one);
                p[j % 4] = p[j % 4].mul(factor);
            }
            let product = p[0].mul(p[1]).mul(p[2].mul(p[3]));
            part.store(one.sub(own).mul(product), a.y.cast::<f32>().add(i));
        });
    }
}

leaf! {
    /// [`WriteF32`].
    fn write_f32(a: WriteF32) = neural_write_f32_avx2, neural_write_f32_avx512 {
        for r in 0..a.rows {
            let x: *mut f32 = a.x.add(r * a.x_row).cast();
            let w = V::splat(a.w.cast::<f32>().add(r).read_unaligned());
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(x.add(i));
                let erase: V = part.load(a.erase.cast::<f32>().add(i));
                let add: V = part.load(a.add.cast::<f32>().add(i));
                part.store(w.fma(erase.fnma(v, add), v), x.add(i));
            });
        }
    }
}

leaf! {
    /// [`LinkF32`].
    fn link_f32(a: LinkF32) = neural_link_f32_avx2, neural_link_f32_avx512 {
        let w: *const f32 = a.w.cast();
        let p: *mut f32 = a.p.cast();
        for i in 0..a.rows {
            let r = a.first + i;
            let l: *mut f32 = a.l.cast::<f32>().add(i * a.n);
            let own = V::splat(w.add(r).read_unaligned());
            let rest = V::splat(1.0).sub(own);
            each_vector!(V, a.n, |j, part| {
                let v: V = part.load(l.add(j));
                let other: V = part.load(w.add(j));
                let before: V = part.load(p.add(j));
                part.store(rest.sub(other).fma(v, own.mul(before)), l.add(j));
            });
            l.add(r).write_unaligned(0.0);
        }
        if a.first + a.rows < a.n {
            return;
        }
        let mut sum = V::zero();
        each_vector!(V, a.n, |i, part| {
            let v: V = part.load(w.add(i));
            sum = sum.add(v);
        });
        let kept = V::splat(1.0 - sum.sum());
        each_vector!(V, a.n, |i, part| {
            let v: V = part.load(w.add(i));
            let before: V = part.load(p.add(i));
            part.store(kept.fma(before, v), p.add(i));
        });
    }
}
