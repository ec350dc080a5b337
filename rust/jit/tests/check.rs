// SPDX-License-Identifier: GPL-2.0

//! What the checker lets pass is what it says, however the code came about.

mod common;

use std::collections::HashSet;

use common::{Kind, Network, Random};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};
use neural_jit::{check, emit, Descriptor, Exit, GemmF32, Isa, Limit};

const FREE: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// The rules again, by a disassembler.
fn is_sound(code: &[u8], exit: Exit) -> Result<(), String> {
    let decoder = Decoder::with_ip(64, code, 1 << 20, DecoderOptions::NONE);
    let all: Vec<Instruction> = decoder.into_iter().collect();
    let say = |i: &Instruction| format!("{:?} at {}", i.mnemonic(), i.ip() - (1 << 20));
    let [first, middle @ .., clear, last] = &all[..] else {
        return Err("too short".into());
    };
    if first.mnemonic() != Mnemonic::Endbr64 || clear.mnemonic() != Mnemonic::Vzeroupper {
        return Err("frame".into());
    }
    let leaves = match exit {
        Exit::Ret => last.mnemonic() == Mnemonic::Ret && last.len() == 1,
        Exit::Thunk { distance } => {
            last.mnemonic() == Mnemonic::Jmp
                && last.near_branch64() == (1u64 << 20).wrapping_add(distance as u64)
        }
    };
    if !leaves {
        return Err("exit".into());
    }
    let mut factory = InstructionInfoFactory::new();
    let mut addresses = HashSet::new();
    let starts: HashSet<u64> = middle.iter().map(Instruction::ip).collect();
    for i in middle {
        if i.is_invalid() {
            return Err(say(i));
        }
        let vector = i.op0_register().is_vector_register()
            || i.op1_register().is_vector_register()
            || i.op0_register().is_k();
        let info = factory.info(i);
        for used in info.used_registers() {
            let register = used.register().full_register();
            let fine = register.is_vector_register() || register.is_k() || FREE.contains(&register);
            let writes = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            if !fine || writes && register == Register::RDI {
                return Err(format!("{}: {register:?}", say(i)));
            }
        }
        for used in info.used_memory() {
            if i.mnemonic() == Mnemonic::Lea {
                continue;
            }
            let base = used.base();
            let argument = i.mnemonic() == Mnemonic::Mov
                && base == Register::RDI
                && used.access() == OpAccess::Read;
            let data = vector && addresses.contains(&base);
            if used.index() != Register::None || !(argument || data) {
                return Err(format!("{}: memory", say(i)));
            }
            if used.segment() != Register::DS && used.segment() != Register::None {
                return Err(format!("{}: segment", say(i)));
            }
        }
        match i.flow_control() {
            FlowControl::Next => {}
            FlowControl::ConditionalBranch
                if i.mnemonic() == Mnemonic::Jne
                    && i.near_branch64() < i.ip()
                    && starts.contains(&i.near_branch64()) => {}
            _ => return Err(say(i)),
        }
        match i.mnemonic() {
            Mnemonic::Mov if i.op1_kind() == OpKind::Memory => {
                addresses.insert(i.op0_register());
            }
            Mnemonic::Mov if i.op0_kind() == OpKind::Register => {
                addresses.remove(&i.op0_register().full_register());
            }
            Mnemonic::Lea if addresses.contains(&i.memory_base()) => {
                addresses.insert(i.op0_register());
            }
            Mnemonic::Add if addresses.contains(&i.op0_register()) => {}
            Mnemonic::Sub if !addresses.contains(&i.op0_register().full_register()) => {}
            Mnemonic::Jne => {}
            _ if vector => {}
            _ => return Err(say(i)),
        }
    }
    Ok(())
}

const EXITS: [Exit; 2] = [Exit::Ret, Exit::Thunk { distance: -123_456 }];

/// Codes of small chains and of matrix products, on all instruction sets.
fn some_codes(random: &mut Random, count: usize) -> Vec<(Vec<u8>, Exit)> {
    let mut buffer = vec![0; 1 << 16];
    let mut codes = Vec::new();
    for i in 0..count {
        let sizes: Vec<usize> = (0..2 + i % 3).map(|_| 1 + random.below(40)).collect();
        let network = Network::random(random, &sizes, Kind::Any, true);
        for isa in Isa::ALL {
            let exit = EXITS[i % 2];
            let len = emit(&network.descriptor(), isa, exit, &mut buffer).unwrap();
            codes.push((buffer[..len].to_vec(), exit));
        }
        // These have loops, one in another.
        let gemm = GemmF32 {
            positions: [1, 20][i % 2],
            n: 1 + random.below(40) as u32,
            k: 40 + random.below(60) as u32,
            x_row: 2000,
            y_row: 200,
            limit: Limit::ZeroToSix,
        };
        for isa in [Isa::Avx2, Isa::Avx512] {
            let exit = EXITS[i / 2 % 2];
            let len = emit(&Descriptor::GemmF32(gemm), isa, exit, &mut buffer).unwrap();
            codes.push((buffer[..len].to_vec(), exit));
        }
    }
    codes
}

#[test]
fn what_is_emitted_is_sound() {
    let mut random = Random(5);
    for (code, exit) in some_codes(&mut random, 50) {
        assert_eq!(check(&code, exit), Ok(()));
        assert_eq!(is_sound(&code, exit), Ok(()));
    }
}

#[test]
fn what_a_flipped_bit_makes_is_refused_or_sound() {
    let mut random = Random(6);
    let (mut passed, mut refused) = (0, 0);
    for (code, exit) in some_codes(&mut random, 2) {
        for bit in (0..code.len() * 8).step_by(1 + code.len() / 1000) {
            let mut flipped = code.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match check(&flipped, exit) {
                Ok(()) => {
                    passed += 1;
                    assert_eq!(is_sound(&flipped, exit), Ok(()), "bit {bit}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    // Other registers, displacements and immediates are as good.
    assert!(refused > 5_000 && passed > 1_000, "{refused} {passed}");
}

#[test]
fn what_several_changes_make_is_refused_or_sound() {
    let mut random = Random(7);
    let codes = some_codes(&mut random, 20);
    for _ in 0..30_000 {
        let (code, exit) = &codes[random.below(codes.len())];
        let mut changed = code.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(changed.len().max(1));
            if changed.is_empty() {
                break;
            }
            match random.below(5) {
                0 => changed[at] = random.next() as u8,
                1 => changed[at] ^= 1 << random.below(8),
                2 => {
                    changed.remove(at);
                }
                3 => changed.insert(at, [0x62, 0xc4, 0xc5, 0x48][random.below(4)]),
                _ => changed.truncate(at + 1),
            }
        }
        if check(&changed, *exit).is_ok() {
            assert_eq!(is_sound(&changed, *exit), Ok(()));
        }
    }
}

#[test]
fn random_instructions_are_refused_or_sound() {
    let mut random = Random(8);
    let mut passed = 0;
    for _ in 0..300_000 {
        let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8b, 0x47, 0x08];
        let first = [0x62, 0xc4, 0xc5, 0x48, 0x41, 0xb8, 0x49][random.below(7)];
        code.push(first);
        let len = 3 + random.below(9);
        for _ in 0..len {
            code.push(random.next() as u8);
        }
        code.extend_from_slice(&[0xc5, 0xf8, 0x77, 0xc3]);
        if check(&code, Exit::Ret).is_ok() {
            passed += 1;
            assert_eq!(is_sound(&code, Exit::Ret), Ok(()), "{code:x?}");
        }
    }
    assert!(passed > 100, "{passed}");
}

#[test]
fn loops_must_end() {
    let frame = |body: &[u8]| {
        let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa];
        code.extend_from_slice(body);
        code.extend_from_slice(&[0xc5, 0xf8, 0x77, 0xc3]);
        check(&code, Exit::Ret).is_ok()
    };
    let set = |n: u8| [0xb8, n, 0, 0, 0];
    let again = |back: u8| {
        [
            0x40,
            0x83,
            0xe8,
            1,
            0x0f,
            0x85,
            0u8.wrapping_sub(back),
            255,
            255,
            255,
        ]
    };
    let xor = [0xc5, 0xed, 0xef, 0xcb];
    assert!(frame(&[&set(3)[..], &xor, &again(14)].concat()));
    assert!(
        !frame(&[&set(0)[..], &xor, &again(14)].concat()),
        "2^32 times"
    );
    assert!(
        !frame(&[&set(3)[..], &xor, &xor, &again(14)].concat()),
        "not set before"
    );
    assert!(
        !frame(&[&set(3)[..], &xor, &again(13)].concat()),
        "inside an instruction"
    );
    assert!(
        !frame(&[&set(3)[..], &xor, &again(19)].concat()),
        "sets its counter"
    );
    assert!(
        !frame(&[&set(3)[..], &xor, &set(3), &again(19)].concat()),
        "changes its counter"
    );
    assert!(
        !frame(&[&set(3)[..], &xor, &again(14), &again(24)].concat()),
        "one counter"
    );
    // Another counter, inside.
    let inner = [0xb9, 2, 0, 0, 0];
    let inner_again = [
        0x40,
        0x83,
        0xe9,
        1,
        0x0f,
        0x85,
        256u16.wrapping_sub(14) as u8,
        255,
        255,
        255,
    ];
    assert!(frame(
        &[&set(3)[..], &inner, &xor, &inner_again, &again(29)].concat()
    ));
    // An address that is one only the first time.
    let pointer = [0x48, 0x8b, 0x4f, 0x08];
    let read = [0xc5, 0xfe, 0x6f, 0x01];
    assert!(frame(&[&pointer[..], &set(3), &read, &again(14)].concat()));
    assert!(!frame(
        &[&pointer[..], &set(3), &read, &inner, &again(19)].concat()
    ));
}
