// SPDX-License-Identifier: GPL-2.0

//! The structures and request numbers of `include/uapi/linux/neural.h`.
//!
//! Written by hand, so that building needs no C headers; `tests/uapi.rs` compiles the header and
//! compares every size, offset and number with what stands here.

/// Bytes of a network name with its terminating NUL.
pub const NAME_LEN: usize = 32;
/// Bytes that an error line of the kernel never exceeds.
pub const MSG_LEN: usize = 160;
/// Buckets of the latency histogram.
pub const HIST_BUCKETS: usize = 40;
/// Samples in one batch.
pub const BATCH_MAX: u32 = 1 << 20;
/// The id that means all networks.
pub const ID_TOTAL: u32 = 0;
/// `neural_load.flags`: take the model from the firmware path.
pub const LOAD_FIRMWARE: u32 = 1;
/// Kinds of errors that are counted.
pub const ERR_KINDS: usize = 6;
/// The kinds of errors, in the order of `NEURAL_ERR_*`.
pub const ERR_NAMES: [&str; ERR_KINDS] = [
    "input",
    "context",
    "memory",
    "model",
    "interrupted",
    "config",
];
/// The bits of `neural_query.features`, lowest first.
pub const FEATURE_NAMES: [&str; 7] = ["q16", "cache", "numa", "replace", "i8", "f32", "i16"];
/// `neural_info.dtype`: `__s32` in Q16.16.
pub const DTYPE_Q16: u32 = 1;
/// `neural_info.dtype`: `__s8`, codes.
pub const DTYPE_I8: u32 = 2;
/// `neural_info.dtype`: `__s16`, codes whose zero point is 0.
pub const DTYPE_I16: u32 = 3;
/// `neural_info.dtype`: `float`.
pub const DTYPE_F32: u32 = 5;

/// `struct neural_msg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Msg {
    /// Address of a buffer, or 0.
    pub text: u64,
    /// Its size in bytes.
    pub len: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct neural_query`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Query {
    /// Where an error line goes.
    pub msg: Msg,
    /// Version of the ABI that the module speaks.
    pub abi_version: u32,
    /// Number of loaded networks.
    pub networks: u32,
    /// Bits, see [`FEATURE_NAMES`].
    pub features: u64,
    /// Largest model file that is taken.
    pub max_model_bytes: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// `struct neural_load`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Where an error line goes.
    pub msg: Msg,
    /// Address of the model file's bytes.
    pub data: u64,
    /// Number of bytes.
    pub size: u64,
    /// Name of the network, or empty for the one in the file.
    pub name: [u8; NAME_LEN],
    /// [`LOAD_FIRMWARE`] or 0.
    pub flags: u32,
    /// Out: id of the network.
    pub id: u32,
    /// Zero.
    pub reserved: [u64; 2],
}

/// `struct neural_name`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Name {
    /// Where an error line goes.
    pub msg: Msg,
    /// Name of the network.
    pub name: [u8; NAME_LEN],
    /// Out: its id.
    pub id: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct neural_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    /// Its name, NUL-terminated.
    pub name: [u8; NAME_LEN],
    /// Its id.
    pub id: u32,
    /// [`DTYPE_Q16`], [`DTYPE_I8`], [`DTYPE_I16`] or [`DTYPE_F32`].
    pub dtype: u32,
    /// Elements of an input.
    pub input_dim: u32,
    /// Elements of an output.
    pub output_dim: u32,
    /// Number of layers.
    pub layers: u32,
    /// 1 when loaded, one more with each replacement.
    pub generation: u32,
    /// Multiply-accumulates of one prediction.
    pub macs: u64,
    /// Bytes of weights and biases.
    pub weight_bytes: u64,
    /// All memory that the network holds.
    pub memory_bytes: u64,
    /// Of codes: the bits of the scale of the input, a float.
    pub input_scale: u32,
    /// Of codes: the zero point of the input.
    pub input_zero_point: i32,
    /// Of codes: the bits of the scale of the output, a float.
    pub output_scale: u32,
    /// Of codes: the zero point of the output.
    pub output_zero_point: i32,
}

/// `struct neural_list`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct List {
    /// Where an error line goes.
    pub msg: Msg,
    /// Address of an array of [`Info`].
    pub infos: u64,
    /// Its elements.
    pub capacity: u32,
    /// Out: number of networks.
    pub count: u32,
}

/// `struct neural_predict`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Predict {
    /// Where an error line goes.
    pub msg: Msg,
    /// Id of the network.
    pub id: u32,
    /// Samples.
    pub count: u32,
    /// Address of the inputs.
    pub input: u64,
    /// Address of the outputs.
    pub output: u64,
    /// Bytes of one input.
    pub input_bytes: u32,
    /// Bytes of one output.
    pub output_bytes: u32,
    /// Zero.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct neural_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Where an error line goes.
    pub msg: Msg,
    /// Id of the network, or [`ID_TOTAL`].
    pub id: u32,
    /// Zero.
    pub reserved: u32,
    /// Predictions made, those from the cache included.
    pub predictions: u64,
    /// Batch calls.
    pub batches: u64,
    /// Predictions answered by the cache.
    pub cache_hits: u64,
    /// Look-ups that found nothing.
    pub cache_misses: u64,
    /// Look-ups that found an answer past its time-out.
    pub cache_expired: u64,
    /// Operations done by vector code.
    pub simd_ops: u64,
    /// Time spent in predictions.
    pub total_ns: u64,
    /// Half of the predictions took at most this long.
    pub p50_ns: u64,
    /// 99 % of them.
    pub p99_ns: u64,
    /// 99.9 % of them.
    pub p999_ns: u64,
    /// Memory held now.
    pub memory_bytes: u64,
    /// The most memory that was held.
    pub memory_peak_bytes: u64,
    /// Errors by kind, see [`ERR_NAMES`].
    pub errors: [u64; ERR_KINDS],
    /// Latency histogram.
    pub histogram: [u64; HIST_BUCKETS],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            msg: Msg::default(),
            id: 0,
            reserved: 0,
            predictions: 0,
            batches: 0,
            cache_hits: 0,
            cache_misses: 0,
            cache_expired: 0,
            simd_ops: 0,
            total_ns: 0,
            p50_ns: 0,
            p99_ns: 0,
            p999_ns: 0,
            memory_bytes: 0,
            memory_peak_bytes: 0,
            errors: [0; ERR_KINDS],
            histogram: [0; HIST_BUCKETS],
        }
    }
}

/// `struct neural_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Where an error line goes.
    pub msg: Msg,
    /// Id of the network.
    pub id: u32,
    /// Bytes at `text`; get: size of the buffer, out: bytes of the text.
    pub len: u32,
    /// Address of the text.
    pub text: u64,
}

const MAGIC: u8 = 0xb7;

macro_rules! request {
    ($name:ident, $nr:expr, $t:ty) => {
        #[doc = concat!("`NEURAL_IOC_", stringify!($name), "`.")]
        pub const $name: nix::libc::c_ulong =
            nix::request_code_readwrite!(MAGIC, $nr, std::mem::size_of::<$t>());
    };
}

/// The request numbers.
pub mod ioc {
    use super::*;

    request!(QUERY, 0x00, Query);
    request!(LOAD, 0x01, Load);
    request!(REPLACE, 0x02, Load);
    request!(UNLOAD, 0x03, Name);
    request!(FIND, 0x04, Name);
    request!(LIST, 0x05, List);
    request!(PREDICT, 0x06, Predict);
    request!(PREDICT_BATCH, 0x07, Predict);
    request!(STATS, 0x08, Stats);
    request!(CONFIG_GET, 0x09, Config);
    request!(CONFIG_SET, 0x0a, Config);
}

/// A network name as the kernel takes it, or why it is none.
pub fn name_field(name: &str) -> std::result::Result<[u8; NAME_LEN], String> {
    let checked = neural_core::name::check(name.as_bytes()).map_err(|e| e.to_string())?;
    let mut field = [0; NAME_LEN];
    for (to, from) in field.iter_mut().zip(checked.bytes()) {
        *to = from;
    }
    Ok(field)
}

/// The text up to the first NUL.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_their_bounds() {
        assert!(name_field(&"a".repeat(31)).is_ok());
        assert!(name_field(&"a".repeat(32)).is_err());
        assert!(name_field("").is_err());
        assert!(name_field("a b").is_err());
        assert!(name_field("\u{e4}").is_err());
        assert!(name_field(".a").is_err());
        assert!(name_field("-a").is_err());
        assert_eq!(text(&name_field("A_.-9").unwrap()), "A_.-9");
        assert_eq!(text(b"abc"), "abc");
    }
}
