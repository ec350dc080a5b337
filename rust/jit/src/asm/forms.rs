// SPDX-License-Identifier: GPL-2.0

//! The vector instructions that there are: what the encoder writes and the checker lets pass.

/// What the operands of an instruction are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// A register from a register or from memory.
    Load,
    /// A register or memory from a register.
    Store,
    /// A register from a register and from a register or memory.
    Three,
    /// A register from a register and an immediate; the number is part of the opcode.
    Shift(u8),
}

/// What the operand is that may lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Other {
    /// A vector register or memory.
    Any,
    /// A vector register.
    Vector,
    /// Memory.
    Memory,
    /// An integer register.
    Integer,
    /// An integer register or memory.
    Number,
}

/// How an instruction is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Form {
    /// The name in manuals; that of the encoding without masks if there are two.
    pub(crate) name: &'static str,
    /// 1 for `0F`, 2 for `0F38`, 3 for `0F3A`.
    pub(crate) map: u8,
    /// 0 for none, 1 for `66`, 2 for `F3`, 3 for `F2`.
    pub(crate) prefix: u8,
    /// Opcode.
    pub(crate) opcode: u8,
    /// Operands.
    pub(crate) shape: Shape,
    /// The operand that may lie in memory.
    pub(crate) other: Other,
    /// Whether a byte follows.
    pub(crate) immediate: bool,
    /// The bit W of the VEX encoding, if there is one.
    pub(crate) vex: Option<bool>,
    /// The bit W of the EVEX encoding, if there is one.
    pub(crate) evex: Option<bool>,
    /// Bytes of an operand in memory, 0 for those of a vector.
    pub(crate) bytes: u8,
    /// The lengths that there are: 1 for 128 bits, 2 for 256, 4 for 512.
    pub(crate) lengths: u8,
    /// Whether the destination is a mask.
    pub(crate) to_mask: bool,
}

/// One of each three-operand form with full vectors, which most are.
const FORM: Form = Form {
    name: "",
    map: 1,
    prefix: 1,
    opcode: 0,
    shape: Shape::Three,
    other: Other::Any,
    immediate: false,
    vex: Some(false),
    evex: Some(false),
    bytes: 0,
    lengths: 7,
    to_mask: false,
};

macro_rules! forms {
    ($($constant:ident $name:literal: $map:literal $prefix:literal $opcode:literal
        $(, $field:ident: $value:expr)*;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub(crate) const $constant: Form = Form {
                name: $name,
                map: $map,
                prefix: $prefix,
                opcode: $opcode,
                $($field: $value,)*
                ..FORM
            };
        )*

        /// All of them.
        pub(crate) const ALL: &[Form] = &[$($constant,)*];
    };
}

const ONE: Option<bool> = Some(true);

forms! {
    // Integers.
    VPXOR "vpxor": 1 1 0xef;
    VPAND "vpand": 1 1 0xdb;
    VPOR "vpor": 1 1 0xeb;
    VPADDW "vpaddw": 1 1 0xfd;
    VPADDD "vpaddd": 1 1 0xfe;
    VPADDQ "vpaddq": 1 1 0xd4, evex: ONE;
    VPADDSW "vpaddsw": 1 1 0xed;
    VPSUBD "vpsubd": 1 1 0xfa;
    VPSUBSB "vpsubsb": 1 1 0xe8;
    VPMULDQ "vpmuldq": 2 1 0x28, evex: ONE;
    VPMADDWD "vpmaddwd": 1 1 0xf5;
    VPMADDUBSW "vpmaddubsw": 2 1 0x04;
    VPDPBUSD "vpdpbusd": 2 1 0x50, vex: None;
    VPDPBUSD_VEX "vpdpbusd": 2 1 0x50, evex: None, lengths: 3;
    VPMINUB "vpminub": 1 1 0xda;
    VPMAXUB "vpmaxub": 1 1 0xde;
    VPMINSB "vpminsb": 2 1 0x38;
    VPMAXSB "vpmaxsb": 2 1 0x3c;
    VPMINSD "vpminsd": 2 1 0x39;
    VPMAXSD "vpmaxsd": 2 1 0x3d;
    VPABSD "vpabsd": 2 1 0x1e, shape: Shape::Load;
    VPSIGND "vpsignd": 2 1 0x0a, evex: None, lengths: 3;
    VPSRLVD "vpsrlvd": 2 1 0x45;
    VPSRAVD "vpsravd": 2 1 0x46;
    VPSLLVD "vpsllvd": 2 1 0x47;
    VPSRLVW "vpsrlvw": 2 1 0x10, vex: None, evex: ONE;
    VPSRLW "vpsrlw": 1 1 0x71, shape: Shape::Shift(2), other: Other::Vector, immediate: true;
    VPSRAW "vpsraw": 1 1 0x71, shape: Shape::Shift(4), other: Other::Vector, immediate: true;
    VPSLLW "vpsllw": 1 1 0x71, shape: Shape::Shift(6), other: Other::Vector, immediate: true;
    VPSRAD "vpsrad": 1 1 0x72, shape: Shape::Shift(4), other: Other::Vector, immediate: true;
    VPSLLD "vpslld": 1 1 0x72, shape: Shape::Shift(6), other: Other::Vector, immediate: true;
    VPSRLQ "vpsrlq": 1 1 0x73, shape: Shape::Shift(2), other: Other::Vector, immediate: true, evex: ONE;
    VPSLLQ "vpsllq": 1 1 0x73, shape: Shape::Shift(6), other: Other::Vector, immediate: true, evex: ONE;
    VPACKSSDW "vpackssdw": 1 1 0x6b;
    VPACKUSWB "vpackuswb": 1 1 0x67;
    VPCMPEQD "vpcmpeqd": 1 1 0x76, evex: None, lengths: 3;
    VPTERNLOGD "vpternlogd": 3 1 0x25, immediate: true, vex: None;

    // Orders.
    VPSHUFD "vpshufd": 1 1 0x70, shape: Shape::Load, immediate: true;
    VPSHUFB "vpshufb": 2 1 0x00;
    VPUNPCKLDQ "vpunpckldq": 1 1 0x62;
    VPUNPCKHDQ "vpunpckhdq": 1 1 0x6a;
    VPMOVSDB "vpmovsdb": 2 2 0x21, shape: Shape::Store, other: Other::Vector, vex: None;
    VPUNPCKLQDQ "vpunpcklqdq": 1 1 0x6c, evex: ONE;
    VPUNPCKHQDQ "vpunpckhqdq": 1 1 0x6d, evex: ONE;
    VPBLENDD "vpblendd": 3 1 0x02, immediate: true, evex: None, lengths: 3;
    VPERMI2W "vpermi2w": 2 1 0x75, vex: None, evex: ONE;
    VPERMD "vpermd": 2 1 0x36, lengths: 6;
    VPERMQ "vpermq": 3 1 0x00, shape: Shape::Load, immediate: true, vex: ONE, evex: ONE, lengths: 6;
    VPERM2I128 "vperm2i128": 3 1 0x46, immediate: true, evex: None, lengths: 2;
    VSHUFI32X4 "vshufi32x4": 3 1 0x43, immediate: true, vex: None, lengths: 6;
    VEXTRACTI128 "vextracti128": 3 1 0x39, shape: Shape::Store, immediate: true, evex: None, bytes: 16, lengths: 2;
    VEXTRACTI32X4 "vextracti32x4": 3 1 0x39, shape: Shape::Store, immediate: true, vex: None, bytes: 16, lengths: 6;
    VEXTRACTI64X4 "vextracti64x4": 3 1 0x3b, shape: Shape::Store, immediate: true, vex: None, evex: ONE, bytes: 32, lengths: 4;
    VINSERTI128 "vinserti128": 3 1 0x38, immediate: true, evex: None, bytes: 16, lengths: 2;
    VINSERTI32X4 "vinserti32x4": 3 1 0x38, immediate: true, vex: None, bytes: 16, lengths: 6;
    VINSERTI64X4 "vinserti64x4": 3 1 0x3a, immediate: true, vex: None, evex: ONE, bytes: 32, lengths: 4;

    // To and from memory.
    VMOVDQU "vmovdqu": 1 2 0x6f, shape: Shape::Load;
    VMOVDQU_TO "vmovdqu": 1 2 0x7f, shape: Shape::Store;
    VMOVDQU16 "vmovdqu16": 1 3 0x6f, shape: Shape::Load, vex: None, evex: ONE;
    VMOVDQU8 "vmovdqu8": 1 3 0x6f, shape: Shape::Load, vex: None;
    VMOVDQU8_TO "vmovdqu8": 1 3 0x7f, shape: Shape::Store, vex: None;
    VMOVD "vmovd": 1 1 0x6e, shape: Shape::Load, other: Other::Number, bytes: 4, lengths: 1;
    VMOVD_TO "vmovd": 1 1 0x7e, shape: Shape::Store, other: Other::Memory, bytes: 4, lengths: 1;
    VMOVQ "vmovq": 1 2 0x7e, shape: Shape::Load, other: Other::Memory, evex: ONE, bytes: 8, lengths: 1;
    VMOVQ_TO "vmovq": 1 1 0xd6, shape: Shape::Store, other: Other::Memory, evex: ONE, bytes: 8, lengths: 1;
    VPINSRB "vpinsrb": 3 1 0x20, other: Other::Memory, immediate: true, evex: None, bytes: 1, lengths: 1;
    VPINSRW "vpinsrw": 1 1 0xc4, other: Other::Memory, immediate: true, evex: None, bytes: 2, lengths: 1;
    VPINSRD "vpinsrd": 3 1 0x22, other: Other::Memory, immediate: true, evex: None, bytes: 4, lengths: 1;
    VPEXTRB "vpextrb": 3 1 0x14, shape: Shape::Store, other: Other::Memory, immediate: true, evex: None, bytes: 1, lengths: 1;
    VPEXTRW "vpextrw": 3 1 0x15, shape: Shape::Store, other: Other::Memory, immediate: true, evex: None, bytes: 2, lengths: 1;
    VPEXTRD "vpextrd": 3 1 0x16, shape: Shape::Store, other: Other::Memory, immediate: true, evex: None, bytes: 4, lengths: 1;
    VPBROADCASTB "vpbroadcastb": 2 1 0x78, shape: Shape::Load, bytes: 1;
    VPBROADCASTW "vpbroadcastw": 2 1 0x79, shape: Shape::Load, bytes: 2;
    VPBROADCASTD "vpbroadcastd": 2 1 0x58, shape: Shape::Load, bytes: 4;
    VPBROADCASTD_FROM "vpbroadcastd": 2 1 0x7c, shape: Shape::Load, other: Other::Integer, vex: None, lengths: 7;
    VBROADCASTI128 "vbroadcasti128": 2 1 0x5a, shape: Shape::Load, other: Other::Memory, evex: None, bytes: 16, lengths: 2;
    VBROADCASTI32X4 "vbroadcasti32x4": 2 1 0x5a, shape: Shape::Load, other: Other::Memory, vex: None, bytes: 16, lengths: 6;
    VPMOVW2M "vpmovw2m": 2 2 0x29, shape: Shape::Load, other: Other::Vector, vex: None, evex: ONE, to_mask: true;
    KMOVW "kmovw": 1 0 0x92, shape: Shape::Load, other: Other::Integer, evex: None, lengths: 1, to_mask: true;
    KMOVD "kmovd": 1 3 0x92, shape: Shape::Load, other: Other::Integer, evex: None, lengths: 1, to_mask: true;
    KMOVQ "kmovq": 1 3 0x92, shape: Shape::Load, other: Other::Integer, vex: ONE, evex: None, lengths: 1, to_mask: true;

    // Numbers of single precision.
    VMOVUPS "vmovups": 1 0 0x10, shape: Shape::Load;
    VMOVUPS_TO "vmovups": 1 0 0x11, shape: Shape::Store;
    VMOVSS "vmovss": 1 2 0x10, shape: Shape::Load, other: Other::Memory, bytes: 4, lengths: 1;
    VMOVSS_TO "vmovss": 1 2 0x11, shape: Shape::Store, other: Other::Memory, bytes: 4, lengths: 1;
    VBROADCASTSS "vbroadcastss": 2 1 0x18, shape: Shape::Load, bytes: 4;
    VADDPS "vaddps": 1 0 0x58;
    VMULPS "vmulps": 1 0 0x59;
    VSUBPS "vsubps": 1 0 0x5c;
    VMINPS "vminps": 1 0 0x5d;
    VDIVPS "vdivps": 1 0 0x5e;
    VMAXPS "vmaxps": 1 0 0x5f;
    VSQRTPS "vsqrtps": 1 0 0x51, shape: Shape::Load;
    VSHUFPS "vshufps": 1 0 0xc6, immediate: true;
    VFMADD231PS "vfmadd231ps": 2 1 0xb8;
    VFMADD213PS "vfmadd213ps": 2 1 0xa8;
}

/// No form.
const NONE: u8 = u8::MAX;

/// By opcode, the number of the last form that has it; by number, that of the one before which has the same.
const LISTS: ([u8; 256], [u8; ALL.len()]) = {
    let mut last = [NONE; 256];
    let mut before = [NONE; ALL.len()];
    let mut i = 0;
    while i < ALL.len() {
        let opcode = ALL[i].opcode as usize;
        before[i] = last[opcode];
        // CAST: there are far less than 255 forms.
        last[opcode] = i as u8;
        i += 1;
    }
    (last, before)
};

/// The forms that have an opcode.
pub(crate) fn with_opcode(opcode: u8) -> impl Iterator<Item = &'static Form> {
    let mut next = LISTS.0.get(usize::from(opcode)).copied().unwrap_or(NONE);
    core::iter::from_fn(move || {
        let form = ALL.get(usize::from(next))?;
        next = LISTS.1.get(usize::from(next)).copied().unwrap_or(NONE);
        Some(form)
    })
}
