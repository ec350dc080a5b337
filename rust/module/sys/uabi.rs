// SPDX-License-Identifier: GPL-2.0

//! The structures of `include/uapi/linux/neural.h`, byte for byte.
//!
//! The sizes asserted here are asserted of the C structures in `rust/shim/exports.c`.

use kernel::{
    ioctl,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

macro_rules! abi {
    ($($(#[$meta:meta])* struct $name:ident[$size:literal] { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Zeroable)]
        pub(crate) struct $name {
            $(#[allow(missing_docs)] pub(crate) $field: $type,)*
        }

        const _: () = assert!(core::mem::size_of::<$name>() == $size);

        // SAFETY: Only integers and arrays of them: any bytes are a value.
        unsafe impl FromBytes for $name {}
        // SAFETY: Only integers without padding between them, which the size shows: the sum of
        // the fields is asserted below.
        unsafe impl AsBytes for $name {}

        const _: () = assert!($size == 0 $(+ core::mem::size_of::<$type>())*);
    )*};
}

abi! {
    /// `struct neural_msg`.
    struct Msg[16] {
        text: u64,
        len: u32,
        reserved: u32,
    }

    /// `struct neural_query`.
    struct Query[56] {
        msg: Msg,
        abi_version: u32,
        networks: u32,
        features: u64,
        max_model_bytes: u64,
        reserved: [u64; 2],
    }

    /// `struct neural_load`.
    struct Load[88] {
        msg: Msg,
        data: u64,
        size: u64,
        name: [u8; 32],
        flags: u32,
        id: u32,
        reserved: [u64; 2],
    }

    /// `struct neural_name`.
    struct Name[56] {
        msg: Msg,
        name: [u8; 32],
        id: u32,
        reserved: u32,
    }

    /// `struct neural_info`.
    struct Info[96] {
        name: [u8; 32],
        id: u32,
        dtype: u32,
        input_dim: u32,
        output_dim: u32,
        layers: u32,
        generation: u32,
        macs: u64,
        weight_bytes: u64,
        memory_bytes: u64,
        input_scale: u32,
        input_zero_point: i32,
        output_scale: u32,
        output_zero_point: i32,
    }

    /// `struct neural_list`.
    struct List[32] {
        msg: Msg,
        infos: u64,
        capacity: u32,
        count: u32,
    }

    /// `struct neural_predict`.
    struct Predict[56] {
        msg: Msg,
        id: u32,
        count: u32,
        input: u64,
        output: u64,
        input_bytes: u32,
        output_bytes: u32,
        flags: u32,
        reserved: u32,
    }

    /// `struct neural_stats`.
    struct Stats[488] {
        msg: Msg,
        id: u32,
        reserved: u32,
        predictions: u64,
        batches: u64,
        cache_hits: u64,
        cache_misses: u64,
        cache_expired: u64,
        simd_ops: u64,
        total_ns: u64,
        p50_ns: u64,
        p99_ns: u64,
        p999_ns: u64,
        memory_bytes: u64,
        memory_peak_bytes: u64,
        errors: [u64; 6],
        histogram: [u64; 40],
    }

    /// `struct neural_config`.
    struct Config[32] {
        msg: Msg,
        id: u32,
        len: u32,
        text: u64,
    }
}

const MAGIC: u32 = 0xb7;

/// `NEURAL_IOC_QUERY`.
pub(crate) const QUERY: u32 = ioctl::_IOWR::<Query>(MAGIC, 0x00);
/// `NEURAL_IOC_LOAD`.
pub(crate) const LOAD: u32 = ioctl::_IOWR::<Load>(MAGIC, 0x01);
/// `NEURAL_IOC_REPLACE`.
pub(crate) const REPLACE: u32 = ioctl::_IOWR::<Load>(MAGIC, 0x02);
/// `NEURAL_IOC_UNLOAD`.
pub(crate) const UNLOAD: u32 = ioctl::_IOWR::<Name>(MAGIC, 0x03);
/// `NEURAL_IOC_FIND`.
pub(crate) const FIND: u32 = ioctl::_IOWR::<Name>(MAGIC, 0x04);
/// `NEURAL_IOC_LIST`.
pub(crate) const LIST: u32 = ioctl::_IOWR::<List>(MAGIC, 0x05);
/// `NEURAL_IOC_PREDICT`.
pub(crate) const PREDICT: u32 = ioctl::_IOWR::<Predict>(MAGIC, 0x06);
/// `NEURAL_IOC_PREDICT_BATCH`.
pub(crate) const PREDICT_BATCH: u32 = ioctl::_IOWR::<Predict>(MAGIC, 0x07);
/// `NEURAL_IOC_STATS`.
pub(crate) const STATS: u32 = ioctl::_IOWR::<Stats>(MAGIC, 0x08);
/// `NEURAL_IOC_CONFIG_GET`.
pub(crate) const CONFIG_GET: u32 = ioctl::_IOWR::<Config>(MAGIC, 0x09);
/// `NEURAL_IOC_CONFIG_SET`.
pub(crate) const CONFIG_SET: u32 = ioctl::_IOWR::<Config>(MAGIC, 0x0a);

/// `NEURAL_ABI_VERSION`.
pub(crate) const ABI_VERSION: u32 = 1;
/// `NEURAL_BATCH_MAX`.
pub(crate) const BATCH_MAX: u32 = 1 << 20;
/// `NEURAL_LOAD_FIRMWARE`.
pub(crate) const LOAD_FIRMWARE: u32 = 1;
/// The `NEURAL_FEATURE_*` bits that this module has on every CPU.
pub(crate) const FEATURES: u64 = 0x5f;
/// `NEURAL_FEATURE_F32`.
pub(crate) const FEATURE_F32: u64 = 1 << 5;
