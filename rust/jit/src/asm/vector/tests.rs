// SPDX-License-Identifier: GPL-2.0

//! Every form, with every register and every kind of displacement, read by a disassembler.

use std::format;
use std::string::String;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use super::Parts;
use crate::asm::forms::{Form, Other, Shape, ALL};
use crate::asm::{Asm, Bits, Gpr, Mask, Mem, Rm, Vec, Which};
use crate::{check, EmitError, Exit};

const BITS: [Bits; 3] = [Bits::B128, Bits::B256, Bits::B512];

/// Where addresses come from in the functions below.
fn addresses(asm: &mut Asm<'_>) {
    for gpr in Gpr::ALL {
        if gpr != Gpr::Rdi {
            asm.pointer(gpr, 8);
        }
    }
}

/// A function with one instruction of interest, which is given.
fn one(wide: bool, write: impl Fn(&mut Asm<'_>)) -> Result<Instruction, EmitError> {
    let mut code = [0; 128];
    let mut asm = Asm::new(&mut code, wide);
    asm.enter();
    addresses(&mut asm);
    let from = asm.len;
    write(&mut asm);
    let to = asm.len;
    asm.leave(Exit::Ret);
    let len = asm.finish()?;
    assert_eq!(
        check(&code[..len], Exit::Ret),
        Ok(()),
        "{:x?}",
        &code[from..to]
    );
    let mut decoder = Decoder::with_ip(64, &code[from..to], 0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    assert!(!instruction.is_invalid(), "{:x?}", &code[from..to]);
    assert_eq!(instruction.len(), to - from, "{:x?}", &code[from..to]);
    Ok(instruction)
}

fn integer(gpr: Gpr) -> Register {
    match gpr {
        Gpr::Rax => Register::RAX,
        Gpr::Rcx => Register::RCX,
        Gpr::Rdx => Register::RDX,
        Gpr::Rsi => Register::RSI,
        Gpr::Rdi => Register::RDI,
        Gpr::R8 => Register::R8,
        Gpr::R9 => Register::R9,
        Gpr::R10 => Register::R10,
        Gpr::R11 => Register::R11,
    }
}

/// The name that the disassembler has for it.
fn name(form: &Form, instruction: &Instruction) -> String {
    let evex = instruction.code().encoding() == iced_x86::EncodingKind::EVEX;
    match (form.name, evex) {
        ("vpxor" | "vpand" | "vpor", true) => format!("{}d", form.name),
        ("vmovdqu", true) => "vmovdqu32".into(),
        (name, _) => name.into(),
    }
}

/// Compares what was read with what was meant.
fn compare(form: &Form, parts: &Parts, immediate: Option<u8>, instruction: &Instruction) {
    let text = format!("{:?}", instruction.mnemonic()).to_lowercase();
    assert_eq!(text, name(form, instruction));
    let (reg, second, rm) = match form.shape {
        Shape::Load => (Some(0), None, 1),
        Shape::Store => (Some(1), None, 0),
        Shape::Three => (Some(0), Some(1), 2),
        Shape::Shift(_) => (None, Some(0), 1),
    };
    let number = |i: u32| {
        assert_eq!(instruction.op_kind(i), OpKind::Register);
        let register = instruction.op_register(i);
        assert!(register.is_vector_register() || register.is_k());
        register.number()
    };
    if let Some(i) = reg {
        assert_eq!(number(i), usize::from(parts.reg), "{text}");
    }
    if let Some(i) = second {
        assert_eq!(number(i), usize::from(parts.second), "{text}");
    }
    match parts.rm {
        Rm::Vec(Vec(n)) => assert_eq!(number(rm), usize::from(n), "{text}"),
        Rm::Gpr(gpr) => {
            assert_eq!(instruction.op_register(rm).full_register(), integer(gpr));
        }
        Rm::Mem(mem) => {
            assert_eq!(instruction.op_kind(rm), OpKind::Memory);
            assert_eq!(instruction.memory_base(), integer(mem.base));
            assert_eq!(instruction.memory_index(), Register::None);
            assert_eq!(
                instruction.memory_displacement64(),
                i64::from(mem.disp) as u64
            );
        }
    }
    assert!(!instruction.is_broadcast(), "{text}");
    let (mask, zero) = match parts.which {
        Which::All => (Register::None, false),
        Which::Merge(Mask(k)) => (Register::K0 + u32::from(k), false),
        Which::Zero(Mask(k)) => (Register::K0 + u32::from(k), true),
    };
    assert_eq!(instruction.op_mask(), mask, "{text}");
    assert_eq!(instruction.zeroing_masking(), zero, "{text}");
    if let Some(n) = immediate {
        let last = instruction.op_count() - 1;
        assert_eq!(instruction.immediate(last), u64::from(n), "{text}");
    }
}

/// Writes, reads and compares; gives whether there is such an instruction.
fn try_one(form: &Form, wide: bool, bits: Bits, parts: &Parts) -> bool {
    let immediate = form.immediate.then_some(0xa5);
    let bytes = [0xa5];
    let bytes = if form.immediate { &bytes[..] } else { &[] };
    match one(wide, |asm| asm.vector(form, true, bits, parts, bytes)) {
        Ok(instruction) => {
            compare(form, parts, immediate, &instruction);
            let vectors = match bits {
                Bits::B128 => 16,
                Bits::B256 => 32,
                Bits::B512 => 64,
            };
            // A part of a vector is a shorter one.
            let part = form.bytes != 0 || form.to_mask;
            let register = match form.shape {
                Shape::Store => 1,
                _ => 0,
            };
            assert!(form.to_mask || instruction.op_register(register).size() == vectors);
            assert!(
                part || form.shape == Shape::Store || instruction.op_register(0).size() == vectors
            );
            true
        }
        Err(error) => {
            assert_eq!(error, EmitError::Unsupported);
            false
        }
    }
}

/// Operands that are not in memory, with the register given.
fn plain(form: &Form, n: u8) -> Rm {
    match form.other {
        Other::Any | Other::Vector => Rm::Vec(Vec(n)),
        Other::Integer | Other::Number => Rm::Gpr(Gpr::ALL[usize::from(n) % Gpr::ALL.len()]),
        Other::Memory => Rm::Mem(Mem {
            base: Gpr::ALL[usize::from(n) % 4],
            disp: 0,
        }),
    }
}

fn shift_or(form: &Form, reg: u8) -> u8 {
    match form.shape {
        Shape::Shift(n) => n,
        _ if form.to_mask => reg & 7,
        _ => reg,
    }
}

fn second_of(form: &Form, second: u8) -> u8 {
    match form.shape {
        Shape::Three | Shape::Shift(_) => second,
        _ => 0,
    }
}

#[test]
fn every_register_is_read_as_it_was_written() {
    for form in ALL {
        let mut read = 0;
        for bits in BITS {
            for wide in [false, true] {
                for a in 0..32 {
                    for b in 0..32 {
                        let parts = Parts {
                            reg: shift_or(form, a),
                            second: second_of(form, (a ^ b).wrapping_mul(7) & 31),
                            rm: plain(form, b),
                            which: Which::All,
                        };
                        let mut parts = parts;
                        let done = try_one(form, wide, bits, &parts);
                        read += u32::from(done);
                        // The same without high registers is there if any is.
                        parts.reg = shift_or(form, a & 15);
                        parts.second = second_of(form, b & 15);
                        parts.rm = plain(form, b & 15);
                        assert!(try_one(form, wide, bits, &parts) || !done);
                    }
                }
            }
        }
        assert!(read > 0 || form.other == Other::Memory, "{}", form.name);
    }
}

#[test]
fn every_displacement_is_read_as_it_was_written() {
    for form in ALL {
        if !matches!(form.other, Other::Any | Other::Memory | Other::Number) {
            continue;
        }
        let mut read = 0;
        for bits in BITS {
            for wide in [false, true] {
                for high in [false, true] {
                    for base in Gpr::ALL {
                        let units = [1, 2, 4, 8, 16, 32, 64].into_iter();
                        let near = units.flat_map(|unit| {
                            [-129, -128, -127, -1, 0, 1, 2, 126, 127, 128, 129]
                                .into_iter()
                                .flat_map(move |n| [n * unit, n * unit + 1])
                        });
                        for disp in near.chain([i32::MIN, i32::MIN + 64, i32::MAX - 63, i32::MAX]) {
                            if base == Gpr::Rdi {
                                continue;
                            }
                            let parts = Parts {
                                reg: if high { 29 } else { 13 },
                                second: second_of(form, if high { 18 } else { 2 }),
                                rm: Rm::Mem(Mem { base, disp }),
                                which: Which::All,
                            };
                            read += u32::from(try_one(form, wide, bits, &parts));
                        }
                    }
                }
            }
        }
        assert!(read > 1000, "{}", form.name);
    }
}

#[test]
fn every_mask_is_read_as_it_was_written() {
    for form in ALL {
        for bits in BITS {
            for k in 1..8 {
                for which in [Which::Merge(Mask(k)), Which::Zero(Mask(k))] {
                    let memory = Rm::Mem(Mem {
                        base: Gpr::Rsi,
                        disp: 640,
                    });
                    for rm in [plain(form, 30), memory] {
                        let parts = Parts {
                            reg: shift_or(form, 17),
                            second: second_of(form, 24),
                            rm,
                            which,
                        };
                        // Parts of vectors have no masks, and no store makes zeros.
                        let zero = matches!(which, Which::Zero(_));
                        if form.evex.is_some()
                            && form.lengths != 1
                            && !form.to_mask
                            && !(zero && form.shape == Shape::Store)
                        {
                            try_one(form, true, bits, &parts);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn integer_instructions_are_read_as_they_were_written() {
    let code = |write: &dyn Fn(&mut Asm<'_>)| one(true, write).unwrap();
    for dst in Gpr::ALL {
        if dst == Gpr::Rdi {
            continue;
        }
        for disp in [0, 8, 120, 128, 248] {
            let read = code(&|asm| asm.pointer(dst, disp));
            assert_eq!(read.code(), iced_x86::Code::Mov_r64_rm64);
            assert_eq!(read.op0_register(), integer(dst));
            assert_eq!(read.memory_base(), Register::RDI);
            assert_eq!(read.memory_displacement64(), disp as u64);
        }
        for base in Gpr::ALL {
            if base == Gpr::Rdi {
                continue;
            }
            for disp in [0, 1, -128, 127, -129, 128, i32::MIN, i32::MAX] {
                let read = code(&|asm| asm.lea(dst, Mem { base, disp }));
                assert_eq!(read.code(), iced_x86::Code::Lea_r64_m);
                assert_eq!(read.op0_register(), integer(dst));
                assert_eq!(read.memory_base(), integer(base));
                assert_eq!(read.memory_displacement64(), i64::from(disp) as u64);
            }
        }
        for n in [0, 1, u32::MAX] {
            let read = code(&|asm| asm.set(dst, n));
            assert_eq!(read.op0_register().full_register(), integer(dst));
            assert_eq!(read.code(), iced_x86::Code::Mov_r32_imm32);
            assert_eq!(read.immediate32(), n);
            let long = u64::from(n) << 32 | 1;
            let read = code(&|asm| asm.set_long(dst, long));
            assert_eq!(read.op0_register(), integer(dst));
            assert_eq!(read.code(), iced_x86::Code::Mov_r64_imm64);
            assert_eq!(read.immediate64(), long);
        }
        for n in [1, -1, i32::MIN, i32::MAX] {
            let read = code(&|asm| asm.add(dst, n));
            assert_eq!(read.code(), iced_x86::Code::Add_rm64_imm32);
            assert_eq!(read.op0_register(), integer(dst));
            assert_eq!(read.immediate32to64(), i64::from(n));
        }
    }
}

#[test]
fn a_loop_is_read_as_it_was_written() {
    for counter in Gpr::ALL {
        if counter == Gpr::Rdi {
            continue;
        }
        let mut code = [0; 64];
        let mut asm = Asm::new(&mut code, false);
        asm.enter();
        asm.set(counter, 9);
        let label = asm.label();
        asm.three(
            &crate::asm::forms::VPXOR,
            Bits::B256,
            Vec(1),
            Vec(2),
            Rm::Vec(Vec(3)),
        );
        asm.again(counter, label);
        asm.leave(Exit::Thunk { distance: -77 });
        let len = asm.finish().unwrap();
        assert_eq!(check(&code[..len], Exit::Thunk { distance: -77 }), Ok(()));
        let mut decoder = Decoder::with_ip(64, &code[..len], 1 << 32, DecoderOptions::NONE);
        let all: std::vec::Vec<_> = decoder.iter().collect();
        use iced_x86::Mnemonic::{Endbr64, Jmp, Jne, Mov, Sub, Vpxor, Vzeroupper};
        let names: std::vec::Vec<_> = all.iter().map(Instruction::mnemonic).collect();
        assert_eq!(names, [Endbr64, Mov, Vpxor, Sub, Jne, Vzeroupper, Jmp]);
        assert_eq!(all[3].op0_register().full_register(), integer(counter));
        assert_eq!(all[3].immediate(1), 1);
        assert_eq!(all[4].near_branch64(), all[2].ip());
        assert_eq!(all[6].near_branch64(), (1 << 32) - 77);
    }
}

#[test]
fn errors_stay() {
    let mut code = [0; 8];
    let mut asm = Asm::new(&mut code, true);
    asm.enter();
    asm.set(Gpr::Rax, 1);
    asm.set(Gpr::Rax, 1);
    asm.leave(Exit::Ret);
    assert_eq!(asm.finish(), Err(EmitError::Full));
    let mut code = [0; 64];
    let mut asm = Asm::new(&mut code, false);
    asm.three(
        &crate::asm::forms::VPXOR,
        Bits::B512,
        Vec(1),
        Vec(2),
        Rm::Vec(Vec(3)),
    );
    asm.enter();
    assert_eq!(asm.finish(), Err(EmitError::Unsupported));
    let mut asm = Asm::new(&mut code, false);
    asm.leave(Exit::Thunk { distance: 1 << 40 });
    assert_eq!(asm.finish(), Err(EmitError::Distance));
}
