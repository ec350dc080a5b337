// SPDX-License-Identifier: GPL-2.0

//! Model files with a right checksum and something wrong in them: each has its own error.

mod common;

use common::{check, put32, put64, refuse, seal, small, NONE};
use neural_core::error::{Fault, NameFault, Place};
use neural_core::{Class, Error};

#[test]
fn wrong_headers_are_refused() {
    let net = small();
    let len = net.file().len() as u64;
    let header = |change: &dyn Fn(&mut Vec<u8>), fault, class| {
        refuse(&net, change, Place::Header, fault, class);
    };
    let field = |field, have, min, max| Fault::Field {
        field,
        have,
        min,
        max,
    };
    header(&|f| f[0] = 0, Fault::Magic, Class::Corrupt);
    header(&|f| f[7] = 1, Fault::Magic, Class::Corrupt);
    header(
        &|f| f[8] = 0,
        Fault::Version { major: 0, minor: 0 },
        Class::Version,
    );
    header(
        &|f| f[8] = 2,
        Fault::Version { major: 2, minor: 0 },
        Class::Version,
    );
    header(
        &|f| f[10] = 2,
        Fault::Version { major: 1, minor: 2 },
        Class::Version,
    );
    header(
        &|f| f[12] = 127,
        field("header_bytes", 127, 128, 128),
        Class::Invalid,
    );
    header(
        &|f| f[28] = 1,
        Fault::Unsupported {
            field: "flags",
            have: 1,
        },
        Class::Unsupported,
    );
    header(
        &|f| put32(f, 32, 0),
        field("tensor_count", 0, 1, u32::MAX.into()),
        Class::Invalid,
    );
    header(
        &|f| put32(f, 36, 0),
        field("op_count", 0, 1, u32::MAX.into()),
        Class::Invalid,
    );
    let limit = |field, have, max| Fault::Limit { field, have, max };
    header(
        &|f| put32(f, 36, 1025),
        limit("op_count", 1025, 1024),
        Class::TooBig,
    );
    header(
        &|f| put32(f, 36, u32::MAX),
        limit("op_count", u32::MAX.into(), 1024),
        Class::TooBig,
    );
    header(
        &|f| put32(f, 32, 4098),
        limit("tensor_count", 4098, 4097),
        Class::TooBig,
    );
    header(
        &|f| put32(f, 56, 7),
        field("input tensor", 7, 0, 6),
        Class::Invalid,
    );
    header(
        &|f| put32(f, 60, NONE),
        field("output tensor", NONE.into(), 0, 6),
        Class::Invalid,
    );
    header(
        &|f| f[96] = 1,
        Fault::Reserved { offset: 96 },
        Class::Invalid,
    );
    header(
        &|f| f[127] = 0x80,
        Fault::Reserved { offset: 127 },
        Class::Invalid,
    );
    let kind = |operand, tensor| Fault::Kind {
        operand,
        tensor,
        want: "an activation",
    };
    header(
        &|f| put32(f, 56, 1),
        kind("input tensor", 1),
        Class::Invalid,
    );
    header(
        &|f| put32(f, 60, 2),
        kind("output tensor", 2),
        Class::Invalid,
    );

    let file = |change: &dyn Fn(&mut Vec<u8>), fault| {
        refuse(&net, change, Place::File, fault, Class::Corrupt);
    };
    file(
        &|f| put64(f, 16, len + 1),
        Fault::Truncated {
            have: len,
            want: len + 1,
        },
    );
    file(
        &|f| put64(f, 16, u64::MAX),
        Fault::Truncated {
            have: len,
            want: u64::MAX,
        },
    );
    file(
        &|f| put64(f, 16, len - 1),
        Fault::Trailing {
            have: len,
            want: len - 1,
        },
    );
    file(&|f| put64(f, 16, 0), Fault::Trailing { have: len, want: 0 });
}

#[test]
fn wrong_names_are_refused() {
    let name = |bytes: &[u8]| {
        let mut file = small().file();
        file[64..96].fill(0);
        file[64..64 + bytes.len()].copy_from_slice(bytes);
        seal(&mut file);
        check(&file)
    };
    let byte = |at, byte| Err(Error::Name(NameFault::Byte { at, byte }));
    assert_eq!(name(b"AZaz09_.-"), Ok(()));
    assert_eq!(name(&[b'x'; 31]), Ok(()));
    assert_eq!(name(&[b'x'; 32]), Err(Error::Name(NameFault::TooLong)));
    assert_eq!(name(b""), Err(Error::Name(NameFault::Empty)));
    assert_eq!(name(b".a"), byte(0, b'.'));
    assert_eq!(name(b"-a"), byte(0, b'-'));
    assert_eq!(name(b"a/b"), byte(1, b'/'));
    assert_eq!(name(b"a b"), byte(1, b' '));
    assert_eq!(name("é".as_bytes()), byte(0, 0xc3));
    assert_eq!(name(b"a\0b"), byte(2, b'b'));
    assert_eq!(name(b"\0b"), Err(Error::Name(NameFault::Empty)));
}

#[test]
fn wrong_tables_are_refused() {
    let net = small();
    let len = net.file().len() as u64;
    let table = |offset: usize, at: u64, place, fault| {
        refuse(&net, |f| put64(f, offset, at), place, fault, Class::Invalid);
    };
    for (offset, place, bytes) in [
        (40, Place::TensorTable, 7 * 64),
        (48, Place::OpTable, 2 * 64),
    ] {
        let unaligned = |have| Fault::Unaligned {
            field: "offset",
            have,
        };
        let out = |offset| Fault::OutOfFile {
            offset,
            bytes,
            file: len,
        };
        table(offset, 129, place, unaligned(129));
        table(offset, u64::MAX, place, unaligned(u64::MAX));
        table(offset, u64::MAX - 63, place, out(u64::MAX - 63));
        table(offset, 1 << 63, place, out(1 << 63));
        table(offset, len, place, out(len));
        table(offset, len - bytes + 64, place, out(len - bytes + 64));
        table(
            offset,
            0,
            place,
            Fault::Overlap {
                other: Place::Header,
            },
        );
        table(
            offset,
            64,
            place,
            Fault::Overlap {
                other: Place::Header,
            },
        );
    }
    table(
        48,
        128,
        Place::OpTable,
        Fault::Overlap {
            other: Place::TensorTable,
        },
    );
    table(
        48,
        128 + 6 * 64,
        Place::OpTable,
        Fault::Overlap {
            other: Place::TensorTable,
        },
    );
    table(
        40,
        192,
        Place::OpTable,
        Fault::Overlap {
            other: Place::TensorTable,
        },
    );
}

#[test]
fn wrong_tensors_are_refused() {
    let net = small();
    let len = net.file().len() as u64;
    let field = |field, have, min, max| Fault::Field {
        field,
        have,
        min,
        max,
    };
    let tensor = |index: usize, change: &dyn Fn(&mut [u8]), fault, class| {
        let at = net.tensor_at(index);
        let place = Place::Tensor(index as u32);
        refuse(&net, |f| change(&mut f[at..at + 64]), place, fault, class);
    };
    let unsupported = |field, have| Fault::Unsupported { field, have };
    tensor(
        1,
        &|t| t[0] = 0,
        unsupported("dtype", 0),
        Class::Unsupported,
    );
    tensor(
        1,
        &|t| t[0] = 6,
        unsupported("dtype", 6),
        Class::Unsupported,
    );
    tensor(
        1,
        &|t| t[1] = 2,
        unsupported("tensor kind", 2),
        Class::Unsupported,
    );
    let invalid =
        |index, change: &dyn Fn(&mut [u8]), fault| tensor(index, change, fault, Class::Invalid);
    invalid(0, &|t| t[2] = 0, field("rank", 0, 1, 4));
    invalid(0, &|t| t[2] = 5, field("rank", 5, 1, 4));
    invalid(0, &|t| t[3] = 1, Fault::Reserved { offset: 3 });
    invalid(0, &|t| t[20] = 1, Fault::Reserved { offset: 20 });
    invalid(0, &|t| t[40] = 1, Fault::Reserved { offset: 40 });
    invalid(0, &|t| t[63] = 1, Fault::Reserved { offset: 63 });
    invalid(0, &|t| put32(t, 4, 0), field("dims[0]", 0, 1, 4096));
    invalid(0, &|t| put32(t, 4, 4097), field("dims[0]", 4097, 1, 4096));
    invalid(
        0,
        &|t| put32(t, 4, u32::MAX),
        field("dims[0]", u32::MAX.into(), 1, 4096),
    );
    invalid(0, &|t| put32(t, 8, 1), field("dims[1]", 1, 0, 0));
    invalid(0, &|t| t[2] = 2, field("dims[1]", 0, 1, 4096));
    invalid(1, &|t| t[2] = 1, field("dims[1]", 5, 0, 0));
    invalid(0, &|t| put64(t, 24, 64), field("data_offset", 64, 0, 0));
    invalid(0, &|t| put64(t, 32, 20), field("data_bytes", 20, 0, 0));
    invalid(
        1,
        &|t| put64(t, 32, 139),
        Fault::DataBytes {
            have: 139,
            want: 140,
        },
    );
    invalid(
        1,
        &|t| put64(t, 32, 0),
        Fault::DataBytes { have: 0, want: 140 },
    );
    invalid(
        1,
        &|t| put64(t, 32, 1 << 62),
        Fault::DataBytes {
            have: 1 << 62,
            want: 140,
        },
    );
    invalid(
        1,
        &|t| put32(t, 4, 8),
        Fault::DataBytes {
            have: 140,
            want: 160,
        },
    );
    let huge = |t: &mut [u8]| {
        t[2] = 4;
        (0..4).for_each(|i| put32(t, 4 + 4 * i, 4096));
        put64(t, 32, 1 << 50);
        put64(t, 24, 1024);
    };
    invalid(
        1,
        &huge,
        Fault::OutOfFile {
            offset: 1024,
            bytes: 1 << 50,
            file: len,
        },
    );

    let data = |at| {
        net.file()[net.tensor_at(at) + 24..][..8]
            .try_into()
            .map(u64::from_le_bytes)
            .unwrap()
    };
    let first = data(1);
    invalid(
        1,
        &|t| put64(t, 24, first + 4),
        Fault::Unaligned {
            field: "data_offset",
            have: first + 4,
        },
    );
    let out = |offset| Fault::OutOfFile {
        offset,
        bytes: 140,
        file: len,
    };
    invalid(1, &|t| put64(t, 24, len - 64), out(len - 64));
    invalid(1, &|t| put64(t, 24, u64::MAX - 63), out(u64::MAX - 63));
    invalid(1, &|t| put64(t, 24, 1 << 63), out(1 << 63));
    invalid(
        1,
        &|t| put64(t, 24, 0),
        Fault::Overlap {
            other: Place::Header,
        },
    );
    invalid(
        1,
        &|t| put64(t, 24, 64),
        Fault::Overlap {
            other: Place::Header,
        },
    );
    invalid(
        1,
        &|t| put64(t, 24, 192),
        Fault::Overlap {
            other: Place::TensorTable,
        },
    );
    invalid(
        1,
        &|t| put64(t, 24, first - 64),
        Fault::Overlap {
            other: Place::OpTable,
        },
    );
    invalid(2, &|t| put64(t, 24, first), Fault::Order { other: 1 });
    invalid(2, &|t| put64(t, 24, first + 128), Fault::Order { other: 1 });
    invalid(5, &|t| put64(t, 24, first), Fault::Order { other: 4 });
}
