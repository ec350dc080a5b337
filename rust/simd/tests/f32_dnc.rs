// SPDX-License-Identifier: GPL-2.0

//! The memory of a differentiable neural computer, against the equations of Graves et al. (2016) in
//! f64.

mod f32_common;

use f32_common::{near, sets, wide, Buf, Random};
use neural_core::float::{Allocation, Link, Mix, RowsMut, Usage, Write};

#[test]
fn usage_of_all_sizes() {
    let mut random = Random::new(50);
    for set in sets() {
        for n in 0..=512 {
            let heads = n % 4;
            let [u, w] = [0; 2].map(|_| random.positive(n));
            let read = random.positive(heads * n);
            let free = random.positive(heads);
            let place = n % 4;
            let mut y = Buf::new(&u, place);
            assert!(set.usage_f32(&mut Usage {
                u: y.bytes_mut(),
                w: Buf::new(&w, place).bytes(),
                read: Buf::new(&read, place).bytes(),
                read_row: 4 * n,
                free: Buf::new(&free, place).bytes(),
                heads,
                n,
            }));
            for (i, y) in y.get().into_iter().enumerate() {
                let (u, w) = (f64::from(u[i]), f64::from(w[i]));
                let retained: f64 = (0..heads)
                    .map(|r| 1.0 - f64::from(free[r]) * f64::from(read[r * n + i]))
                    .product();
                near(y, (u + w - u * w) * retained, 5e-7, &(set.isa(), n, i));
            }
        }
    }
}

#[test]
fn allocation_follows_the_free_list() {
    let mut random = Random::new(51);
    for set in sets() {
        for n in 0..=200 {
            // Few different values, so that many are equal.
            let mut u: Vec<f32> = (0..n).map(|_| random.range(0, 20) as f32 / 20.0).collect();
            if n % 2 == 0 {
                u = random.positive(n);
            }
            let mut y = Buf::new(&u, n % 4);
            assert!(set.allocation_f32(&mut Allocation {
                u: Buf::new(&u, n % 4).bytes(),
                first: 0,
                y: y.bytes_mut(),
                n,
            }));
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| u[a].total_cmp(&u[b]).then(a.cmp(&b)));
            let mut expected = vec![0.0; n];
            let mut product = 1.0;
            for &i in &order {
                expected[i] = (1.0 - f64::from(u[i])) * product;
                product *= f64::from(u[i]);
            }
            for (i, y) in y.get().into_iter().enumerate() {
                near(
                    y,
                    expected[i],
                    2e-5 * expected[i] + 1e-37,
                    &(set.isa(), n, i),
                );
            }
        }
    }
}

#[test]
fn writes_of_all_sizes() {
    let mut random = Random::new(52);
    for set in sets() {
        for n in 0..=512 {
            let (rows, place) = (1 + n % 5, n % 4);
            let x = random.units(rows * n);
            let w = random.positive(rows);
            let erase = random.positive(n);
            let add = random.units(n);
            let mut y = Buf::new(&x, place);
            assert!(set.write_f32(&mut Write {
                x: RowsMut {
                    bytes: y.bytes_mut(),
                    row: n * 4,
                },
                w: Buf::new(&w, place).bytes(),
                erase: Buf::new(&erase, place).bytes(),
                add: Buf::new(&add, place).bytes(),
                rows,
                n,
            }));
            for (i, y) in y.get().into_iter().enumerate() {
                let w = f64::from(w[i / n]);
                let kept = f64::from(x[i]) * (1.0 - w * f64::from(erase[i % n]));
                near(
                    y,
                    kept + w * f64::from(add[i % n]),
                    4e-7,
                    &(set.isa(), n, i),
                );
            }
        }
    }
}

#[test]
fn temporal_links() {
    let mut random = Random::new(53);
    for set in sets() {
        for n in 0..=70 {
            let l = random.positive(n * n);
            // Weightings: sums of at most 1.
            let [p, w] = [0; 2].map(|_| {
                let v = random.positive(n);
                v.iter().map(|v| v / n as f32).collect::<Vec<_>>()
            });
            let (mut links, mut precedence) = (Buf::new(&l, n % 4), Buf::new(&p, n % 4));
            assert!(set.link_f32(&mut Link {
                l: links.bytes_mut(),
                first: 0,
                rows: n,
                p: precedence.bytes_mut(),
                w: Buf::new(&w, n % 4).bytes(),
                n,
            }));
            let (p, w) = (wide(&p), wide(&w));
            for (at, y) in links.get().into_iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let old = f64::from(l[at]);
                let new = (1.0 - w[i] - w[j]) * old + w[i] * p[j];
                near(
                    y,
                    if i == j { 0.0 } else { new },
                    4e-7,
                    &(set.isa(), n, i, j),
                );
            }
            let sum: f64 = w.iter().sum();
            for (i, y) in precedence.get().into_iter().enumerate() {
                near(y, (1.0 - sum) * p[i] + w[i], 4e-7, &(set.isa(), n, i));
            }
        }
    }
}

#[test]
fn weightings_are_mixed() {
    let mut random = Random::new(54);
    for set in sets() {
        for n in 0..=512 {
            let [a, b, c] = [0; 3].map(|_| random.positive(n));
            let f = random.positive(3);
            let mut y = Buf::new(&b, n % 4);
            assert!(set.mix_f32(&mut Mix {
                x: [
                    Some(Buf::new(&a, n % 4).bytes()),
                    None,
                    Some(Buf::new(&c, n % 4).bytes()),
                ],
                f: [f[0].to_bits(), f[1].to_bits(), f[2].to_bits()],
                y: y.bytes_mut(),
                n,
            }));
            let f = wide(&f);
            for (i, y) in y.get().into_iter().enumerate() {
                let [a, b, c] = [a[i], b[i], c[i]].map(f64::from);
                near(y, f[0] * a + f[1] * b + f[2] * c, 5e-7, &(set.isa(), n, i));
            }
        }
    }
}
