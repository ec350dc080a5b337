// SPDX-License-Identifier: GPL-2.0

//! One step of the memory of a differentiable neural computer: Graves et al., "Hybrid computing using a
//! neural network with dynamic external memory", Nature 538 (2016), the equations of its methods section.
//!
//! The state lies behind the reads in the result: memory, usage, precedence, write weighting, read
//! weightings, links. It is copied there and then changed in place.

use core::mem::take;

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::float::{self, Act, Function, Operator, Rows, RowsMut};
use crate::nnm::{computer_sizes, Op};

use super::super::build::Builder;
use super::super::{product, usize_of, Kernels, Meter, Step};
use super::{vector, NO_ACT};

/// 1.0 and its bits.
const ONE_BITS: u32 = 0x3f80_0000;
const ONE: [u8; ELEMENT_BYTES] = ONE_BITS.to_le_bytes();

/// What an element of a function costs, in multiply-accumulates.
const FUNCTION_MACS: usize = 16;

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
        spend(meter, state.len() / ELEMENT_BYTES, 1)?;
        let parts = self.parts(interface, state, y, temp);
        let mut parts = parts.ok_or_else(fault)?;
        spend(meter, interface.len() / ELEMENT_BYTES, FUNCTION_MACS)?;
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
        spend(meter, self.rows, self.width.saturating_mul(2))?;
        vector(meter.kernels.cosine_f32(float::Cosine {
            x: key,
            rows: memory,
            y: &mut *similarity,
            d: self.width,
            eps: self.eps,
        }))?;
        pair(meter, Operator::Mul, similarity, strength, &mut *scaled)?;
        spend(meter, self.rows, FUNCTION_MACS)?;
        vector(meter.kernels.softmax_f32(float::Softmax {
            x: scaled,
            y: content,
            n: self.rows,
            log: false,
        }))
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
        spend(meter, n, self.heads.saturating_add(1))?;
        vector(meter.kernels.usage_f32(float::Usage {
            u: &mut *state.usage,
            w: &*state.write,
            read: &*state.reads,
            free: &*gates.free,
            heads: self.heads,
            n,
        }))?;
        let operands = (&*given.write_key, &*state.memory, &*gates.write_strength);
        let out = [&mut *parts.other, &mut *parts.forward, &mut *parts.content];
        self.address(meter, operands, out)?;
        spend(meter, n, n)?;
        vector(meter.kernels.allocation_f32(float::Allocation {
            u: &*state.usage,
            y: &mut *parts.other,
            n,
        }))?;
        // The shares of allocation and of content.
        let (write, allocation) = (&*gates.write_gate, &*gates.allocation_gate);
        pair(meter, Operator::Mul, write, allocation, &mut both)?;
        pair(meter, Operator::Sub, write, &both, &mut rest)?;
        spend(meter, n, 2)?;
        vector(meter.kernels.mix_f32(float::Mix {
            x: [
                Some(&*parts.other),
                Some(&*parts.content),
                Some(&*parts.content),
            ],
            f: [u32::from_le_bytes(both), u32::from_le_bytes(rest), 0],
            y: &mut *state.write,
            n,
        }))?;
        spend(meter, n, width)?;
        vector(meter.kernels.write_f32(float::Write {
            x: RowsMut {
                bytes: &mut *state.memory,
                row,
            },
            w: &*state.write,
            erase: &*gates.erase,
            add: &*given.add,
            rows: n,
            n: width,
        }))?;
        spend(meter, n, n)?;
        vector(meter.kernels.link_f32(float::Link {
            l: &mut *state.links,
            p: &mut *state.precedence,
            w: &*state.write,
            n,
        }))
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
        let bytes = |elements: usize| elements.checked_mul(ELEMENT_BYTES);
        let key = row_of(given.read_keys, head, width)?;
        let strength = row_of(gates.read_strengths, head, 1)?;
        let modes = row_of(gates.modes, head, 3)?;
        let modes = [bits(modes, 0)?, bits(modes, 1)?, bits(modes, 2)?];
        let own = bytes(n)?.checked_mul(head)?;
        let own = state.reads.get_mut(own..)?.get_mut(..bytes(n)?)?;
        let out = bytes(width)?.checked_mul(head)?;
        let out = parts.out.get_mut(out..)?.get_mut(..bytes(width)?)?;
        let (line, row) = (bytes(n)?, bytes(width)?);
        // A row of weights times a matrix.
        let times =
            |meter: &mut Meter<'_, K>, w: &[u8], b: Rows<'_>, columns, transposed, y: &mut [u8]| {
                spend(meter, n, columns)?;
                vector(meter.kernels.matmul_f32(float::Matmul {
                    x: Rows {
                        bytes: w,
                        row: line,
                    },
                    b,
                    y: RowsMut {
                        bytes: y,
                        row: line.max(row),
                    },
                    m: 1,
                    n: columns,
                    k: n,
                    scale: ONE_BITS,
                    transposed,
                }))
            };
        let mut run = || -> Result<(), Error> {
            let links = Rows {
                bytes: &*state.links,
                row: line,
            };
            let operands = (key, &*state.memory, strength);
            let lists = [&mut *parts.other, &mut *parts.forward, &mut *parts.content];
            self.address(meter, operands, lists)?;
            times(meter, own, links, n, true, &mut *parts.forward)?;
            times(meter, own, links, n, false, &mut *parts.backward)?;
            spend(meter, n, 3)?;
            vector(meter.kernels.mix_f32(float::Mix {
                x: [
                    Some(&*parts.backward),
                    Some(&*parts.content),
                    Some(&*parts.forward),
                ],
                f: modes,
                y: &mut *own,
                n,
            }))?;
            let memory = Rows {
                bytes: &*state.memory,
                row,
            };
            times(meter, own, memory, width, false, &mut *out)
        };
        Some(run())
    }
}

impl Parts<'_> {
    /// Strengths, gates and modes from what is given.
    fn functions<K: Kernels + ?Sized>(&mut self, meter: &mut Meter<'_, K>) -> Result<(), Error> {
        let (given, gates) = (&self.given, &mut self.gates);
        let map = |function, x: &[u8], y: &mut [u8]| {
            let act = Act { function, slope: 0 };
            vector(meter.kernels.map_f32(float::Map { x, y, act }))
        };
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
        vector(meter.kernels.softmax_f32(float::Softmax {
            x: &*given.modes,
            y: &mut *gates.modes,
            n: 3,
            log: false,
        }))?;
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

/// Announces `count` things that cost `macs` each.
fn spend<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    count: usize,
    macs: usize,
) -> Result<(), Error> {
    // CAST: widens.
    meter.spend(count.saturating_mul(macs) as u64)
}

/// Two tensors, element by element; a shorter `b` repeats.
fn pair<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    operator: Operator,
    a: &[u8],
    b: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    spend(meter, y.len() / ELEMENT_BYTES, 2)?;
    vector(meter.kernels.binary_f32(float::Binary {
        operator,
        a,
        b,
        y,
        act: NO_ACT,
    }))
}
