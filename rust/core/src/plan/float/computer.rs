// SPDX-License-Identifier: GPL-2.0

//! One step of the memory of a differentiable neural computer: Graves et al., "Hybrid computing using a
//! neural network with dynamic external memory", Nature 538 (2016), the equations of its methods section.
//!
//! The state lies behind the reads in the result: memory, usage, precedence, write weighting, read
//! weightings, links. It is copied there and then changed in place.

use core::mem::take;

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::float::{self, work, Act, Function, Operator, Rows, RowsMut};
use crate::int8::LANES;
use crate::nnm::{computer_sizes, Op};

use super::super::build::Builder;
use super::super::{product, usize_of, Kernels, Meter, Step};
use super::cut::{self, bytes, once, pieces, share, By};
use super::NO_ACT;

/// 1.0.
const ONE: [u8; ELEMENT_BYTES] = 0x3f80_0000u32.to_le_bytes();

#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Computer {
    /// Rows of the memory, elements of a row, read heads.
    rows: usize,
    width: usize,
    heads: usize,
    /// The bits of the least product of the norms of two vectors that are compared.
    eps: u32,
}

/// The parts of an interface vector, or of what functions made of them.
struct Interface<'a> {
    read_keys: &'a mut [u8],
    read_strengths: &'a mut [u8],
    write_key: &'a mut [u8],
    write_strength: &'a mut [u8],
    erase: &'a mut [u8],
    add: &'a mut [u8],
    free: &'a mut [u8],
    allocation_gate: &'a mut [u8],
    write_gate: &'a mut [u8],
    modes: &'a mut [u8],
}

/// The parts of a state.
struct State<'a> {
    memory: &'a mut [u8],
    usage: &'a mut [u8],
    precedence: &'a mut [u8],
    write: &'a mut [u8],
    reads: &'a mut [u8],
    links: &'a mut [u8],
}

/// All that a step reads and writes.
struct Parts<'a> {
    out: &'a mut [u8],
    state: State<'a>,
    given: Interface<'a>,
    /// What functions make of what is given.
    gates: Interface<'a>,
    /// Weightings.
    content: &'a mut [u8],
    other: &'a mut [u8],
    forward: &'a mut [u8],
    backward: &'a mut [u8],
}

/// Memory that is given out from its beginning.
struct Room<'a>(&'a mut [u8]);

impl<'a> Room<'a> {
    fn cut(&mut self, elements: usize) -> Option<&'a mut [u8]> {
        let size = elements.checked_mul(ELEMENT_BYTES)?;
        let (head, rest) = take(&mut self.0).split_at_mut_checked(size)?;
        self.0 = rest;
        Some(head)
    }
}

/// The bits of element `i`.
fn bits(bytes: &[u8], i: usize) -> Option<u32> {
    let at = bytes.get(i.checked_mul(ELEMENT_BYTES)?..)?;
    at.first_chunk().map(|&bytes| u32::from_le_bytes(bytes))
}

/// The part of `row` of `n` elements.
fn row_of(bytes: &[u8], row: usize, n: usize) -> Option<&[u8]> {
    let size = n.checked_mul(ELEMENT_BYTES)?;
    bytes.get(row.checked_mul(size)?..)?.get(..size)
}

impl Computer {
    pub(super) fn plan(op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [rows, width, heads, eps, ..] = op.params;
        let size = |n: i32| usize::try_from(n).ok();
        let this = Computer {
            rows: size(rows)?,
            width: size(width)?,
            heads: size(heads)?,
            // CAST: the same bits.
            eps: eps as u32,
        };
        let (interface, _) = computer_sizes(op)?;
        // What becomes of the interface, twice, and four weightings.
        let elements = usize_of(interface).checked_mul(2)?;
        let elements = elements.checked_add(this.rows.checked_mul(4)?)?;
        builder.temp(product(&[elements, ELEMENT_BYTES])?);
        Some(this)
    }

    /// Cuts an interface vector.
    fn interface<'a>(&self, room: &mut Room<'a>) -> Option<Interface<'a>> {
        let keys = self.heads.checked_mul(self.width)?;
        Some(Interface {
            read_keys: room.cut(keys)?,
            read_strengths: room.cut(self.heads)?,
            write_key: room.cut(self.width)?,
            write_strength: room.cut(1)?,
            erase: room.cut(self.width)?,
            add: room.cut(self.width)?,
            free: room.cut(self.heads)?,
            allocation_gate: room.cut(1)?,
            write_gate: room.cut(1)?,
            modes: room.cut(self.heads.checked_mul(3)?)?,
        })
    }

    fn state<'a>(&self, room: &mut Room<'a>) -> Option<State<'a>> {
        Some(State {
            memory: room.cut(self.rows.checked_mul(self.width)?)?,
            usage: room.cut(self.rows)?,
            precedence: room.cut(self.rows)?,
            write: room.cut(self.rows)?,
            reads: room.cut(self.heads.checked_mul(self.rows)?)?,
            links: room.cut(self.rows.checked_mul(self.rows)?)?,
        })
    }

    /// All that a step reads and writes; the interface and the state are copied to where they change.
    fn parts<'a>(
        &self,
        interface: &[u8],
        state: &[u8],
        y: &'a mut [u8],
        temp: &'a mut [u8],
    ) -> Option<Parts<'a>> {
        let (mut y, mut temp) = (Room(y), Room(temp));
        let out = y.cut(self.heads.checked_mul(self.width)?)?;
        y.0.get_mut(..state.len())?.copy_from_slice(state);
        temp.0
            .get_mut(..interface.len())?
            .copy_from_slice(interface);
        Some(Parts {
            out,
            state: self.state(&mut y)?,
            given: self.interface(&mut temp)?,
            gates: self.interface(&mut temp)?,
            content: temp.cut(self.rows)?,
            other: temp.cut(self.rows)?,
            forward: temp.cut(self.rows)?,
            backward: temp.cut(self.rows)?,
        })
    }

    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        interface: &[u8],
        state: &[u8],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        meter.copy(state.len().saturating_add(interface.len()))?;
        let parts = self.parts(interface, state, y, temp);
        let mut parts = parts.ok_or_else(fault)?;
        parts.functions(meter)?;
        self.write(meter, &mut parts)?;
        for head in 0..self.heads {
            self.read(meter, &mut parts, head).ok_or_else(fault)??;
        }
        Ok(())
    }

    /// A weighting by content: softmax of similarities times a strength.
    fn address<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        (key, memory, strength): (&[u8], &[u8], &[u8]),
        [similarity, scaled, content]: [&mut [u8]; 3],
    ) -> Result<(), Error> {
        cut::cosine(meter, (self.width, self.eps), key, memory, similarity)?;
        pair(meter, Operator::Mul, similarity, strength, scaled)?;
        cut::softmax(meter, (self.rows, false), scaled, content)
    }

    /// Usage, write weighting, memory, links.
    fn write<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        parts: &mut Parts<'_>,
    ) -> Result<(), Error> {
        let (n, width) = (self.rows, self.width);
        let Parts {
            state,
            given,
            gates,
            ..
        } = parts;
        let mut both = [0; ELEMENT_BYTES];
        let mut rest = [0; ELEMENT_BYTES];
        let row = width.saturating_mul(ELEMENT_BYTES);
        let most = share(meter, n, LANES, |n| work::usage(n, self.heads));
        for (at, some) in pieces(n, most) {
            once(meter, work::usage(some, self.heads), |k, work| {
                let layer = float::Usage {
                    u: from_mut(state.usage, at),
                    w: from(state.write, at),
                    read: from(state.reads, at),
                    read_row: bytes(n),
                    free: &*gates.free,
                    heads: self.heads,
                    n: some,
                };
                k.usage_f32(layer, work)
            })?;
        }
        let operands = (&*given.write_key, &*state.memory, &*gates.write_strength);
        let out = [&mut *parts.other, &mut *parts.forward, &mut *parts.content];
        self.address(meter, operands, out)?;
        let most = share(meter, n, LANES, |some| work::allocation(some, n));
        for (first, some) in pieces(n, most) {
            let y = from_mut(parts.other, first).get_mut(..bytes(some));
            once(meter, work::allocation(some, n), |k, work| {
                let layer = float::Allocation {
                    u: &*state.usage,
                    first,
                    y: y.unwrap_or_default(),
                    n,
                };
                k.allocation_f32(layer, work)
            })?;
        }
        // The shares of allocation and of content.
        let (write, allocation) = (&*gates.write_gate, &*gates.allocation_gate);
        pair(meter, Operator::Mul, write, allocation, &mut both)?;
        pair(meter, Operator::Sub, write, &both, &mut rest)?;
        let shares = [u32::from_le_bytes(both), u32::from_le_bytes(rest), 0];
        let weightings = [&*parts.other, &*parts.content, &*parts.content];
        mix(meter, weightings, shares, state.write)?;
        let most = share(meter, n, 1, |rows| work::write(rows, width));
        for (first, rows) in pieces(n, most) {
            once(meter, work::write(rows, width), |k, work| {
                let layer = float::Write {
                    x: RowsMut {
                        bytes: from_mut(state.memory, first.saturating_mul(width)),
                        row,
                    },
                    w: from(state.write, first),
                    erase: &*gates.erase,
                    add: &*given.add,
                    rows,
                    n: width,
                };
                k.write_f32(layer, work)
            })?;
        }
        // What follows the last one counts as one more.
        let most = match meter.fits(work::link(n, n)) {
            true => n,
            false => meter.fit(work::link(0, n)).saturating_sub(1),
        };
        for (first, rows) in pieces(n, most) {
            once(meter, work::link(rows, n), |k, work| {
                let layer = float::Link {
                    l: from_mut(state.links, first.saturating_mul(n)),
                    first,
                    rows,
                    p: &mut *state.precedence,
                    w: &*state.write,
                    n,
                };
                k.link_f32(layer, work)
            })?;
        }
        Ok(())
    }

    /// The read weighting of a head, and what it reads. `None` if a part has not its size.
    fn read<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        parts: &mut Parts<'_>,
        head: usize,
    ) -> Option<Result<(), Error>> {
        let (n, width) = (self.rows, self.width);
        let Parts {
            state,
            given,
            gates,
            ..
        } = parts;
        let key = row_of(given.read_keys, head, width)?;
        let strength = row_of(gates.read_strengths, head, 1)?;
        let modes = row_of(gates.modes, head, 3)?;
        let modes = [bits(modes, 0)?, bits(modes, 1)?, bits(modes, 2)?];
        let (line, row) = (bytes(n), bytes(width));
        let own = state.reads.get_mut(line.checked_mul(head)?..)?;
        let own = own.get_mut(..line)?;
        let out = parts.out.get_mut(row.checked_mul(head)?..)?;
        let out = out.get_mut(..row)?;
        let mut run = || -> Result<(), Error> {
            let links = Rows {
                bytes: &*state.links,
                row: line,
            };
            let operands = (key, &*state.memory, strength);
            let lists = [&mut *parts.other, &mut *parts.forward, &mut *parts.content];
            self.address(meter, operands, lists)?;
            let by_rows = By::Rows(links, u32::from_le_bytes(ONE));
            cut::times(meter, own, by_rows, (n, n), parts.forward)?;
            cut::times(meter, own, By::Columns(links), (n, n), parts.backward)?;
            let weightings = [&*parts.backward, &*parts.content, &*parts.forward];
            mix(meter, weightings, modes, own)?;
            let memory = Rows {
                bytes: &*state.memory,
                row,
            };
            cut::times(meter, own, By::Columns(memory), (width, n), out)
        };
        Some(run())
    }
}

impl Parts<'_> {
    /// Strengths, gates and modes from what is given.
    fn functions<K: Kernels + ?Sized>(&mut self, meter: &mut Meter<'_, K>) -> Result<(), Error> {
        let (given, gates) = (&self.given, &mut self.gates);
        let mut map =
            |function, x: &[u8], y: &mut [u8]| cut::map(meter, Act { function, slope: 0 }, x, y);
        // `1 + log(1 + e^x)`; keys are used as they are, so that their place is free.
        let room = gates.read_keys.get_mut(..given.read_strengths.len());
        let room = room.unwrap_or_default();
        map(Function::Softplus, &*given.read_strengths, &mut *room)?;
        let other = gates.write_key.get_mut(..ELEMENT_BYTES).unwrap_or_default();
        map(Function::Softplus, &*given.write_strength, &mut *other)?;
        map(Function::Sigmoid, &*given.erase, &mut *gates.erase)?;
        map(Function::Sigmoid, &*given.free, &mut *gates.free)?;
        map(
            Function::Sigmoid,
            &*given.allocation_gate,
            &mut *gates.allocation_gate,
        )?;
        map(
            Function::Sigmoid,
            &*given.write_gate,
            &mut *gates.write_gate,
        )?;
        cut::softmax(meter, (3, false), given.modes, gates.modes)?;
        pair(meter, Operator::Add, room, &ONE, &mut *gates.read_strengths)?;
        pair(
            meter,
            Operator::Add,
            other,
            &ONE,
            &mut *gates.write_strength,
        )
    }
}

/// From the `at`th element on.
fn from(slice: &[u8], at: usize) -> &[u8] {
    super::slice_from(slice, bytes(at))
}

fn from_mut(slice: &mut [u8], at: usize) -> &mut [u8] {
    slice.get_mut(bytes(at)..).unwrap_or_default()
}

/// Two tensors, element by element; a shorter `b` repeats.
fn pair<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    operator: Operator,
    a: &[u8],
    b: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    cut::binary(meter, (operator, NO_ACT), a, b, y)
}

/// A weighted sum of three vectors that are as long as `y`.
fn mix<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    x: [&[u8]; 3],
    f: [u32; 3],
    y: &mut [u8],
) -> Result<(), Error> {
    let n = y.len() / ELEMENT_BYTES;
    for (at, n) in pieces(n, share(meter, n, LANES, work::mix)) {
        once(meter, work::mix(n), |k, work| {
            let layer = float::Mix {
                x: x.map(|x| Some(from(x, at))),
                f,
                y: from_mut(y, at),
                n,
            };
            k.mix_f32(layer, work)
        })?;
    }
    Ok(())
}
