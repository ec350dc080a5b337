// SPDX-License-Identifier: GPL-2.0

//! The functions of `include/linux/neural.h`, for other kernel modules.
//!
//! A `struct neural_network *` is a reference count of a [`Network`]. The kernel-doc of each
//! function stands here and in `Documentation/api.rst`; what the C side promises is what each
//! `# Safety` section says.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    }, //
};
use neural_core::{
    act::Activation,
    init,
    nnm::{
        self,
        DenseSpec,
        Part, //
    }, //
};

use super::{
    buf,
    cpu,
    rcu::Counted,
    samples::Samples,
    slab::SlabArc,
    work::{
        self,
        WorkSet, //
    }, //
};
use crate::{
    failure::{
        failure,
        Failure,
        Kind,
        Outcome, //
    },
    network::{
        self,
        Name,
        Network, //
    },
    registry, //
};

/// The slope of leaky ReLU in networks made by [`neural_network_create`]: 0.01.
const LEAKY_SLOPE: i32 = 655;

/// Bytes of an element in Q16.16.
const WORD: usize = 4;

fn to_c(result: Outcome) -> c_int {
    match result {
        Ok(()) => 0,
        Err(failure) => failure.errno.to_errno(),
    }
}

fn to_handle(result: Outcome<SlabArc<Network>>) -> *mut Network {
    match result {
        Ok(network) => network.into_raw().as_ptr(),
        Err(failure) => failure.errno.to_ptr(),
    }
}

/// What is refused before the registry sees it; why, stands where its own reasons do.
fn refused(failure: Failure) -> *mut Network {
    to_handle(registry::note(Err(failure), None))
}

/// # Safety
///
/// `text` is a NUL-terminated string or null.
unsafe fn name_of(text: *const c_char) -> Outcome<Option<Name>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: By this function's requirements.
    Name::new(unsafe { CStr::from_char_ptr(text) }.to_bytes()).map(Some)
}

/// # Safety
///
/// As [`name_of`].
unsafe fn needed_name(text: *const c_char) -> Outcome<Name> {
    // SAFETY: By this function's requirements.
    let name = unsafe { name_of(text) }?;
    name.ok_or_else(|| failure!(EINVAL, Input, "name: is needed"))
}

/// Loads a model as a network and returns a reference to it, or an error pointer.
///
/// # Safety
///
/// `name` is a string or null (then the file's name counts); `data` addresses `size` bytes.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_load(
    name: *const c_char,
    data: *const c_void,
    size: usize,
) -> *mut Network {
    // SAFETY: By this function's requirements.
    let name = match unsafe { name_of(name) } {
        Ok(name) => name,
        Err(failure) => return refused(failure),
    };
    if data.is_null() {
        return refused(failure!(EINVAL, Input, "data: is null"));
    }
    // SAFETY: By this function's requirements.
    let bytes = unsafe { core::slice::from_raw_parts(data.cast::<u8>(), size) };
    to_handle(registry::load(name, bytes))
}

/// Makes a network of dense layers with Xavier-initialised weights and zero biases.
///
/// # Safety
///
/// `name` is a string; `dims` addresses `n` numbers.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_create(
    name: *const c_char,
    dims: *const u32,
    n: c_uint,
    activation: c_uint,
    seed: u64,
) -> *mut Network {
    if dims.is_null() || !(2..=1024).contains(&n) {
        return refused(failure!(
            EINVAL,
            Input,
            "dims: must be 2 to 1024 sizes, not {n}"
        ));
    }
    // SAFETY: By this function's requirements.
    let dims = unsafe { core::slice::from_raw_parts(dims, n as usize) };
    // SAFETY: By this function's requirements.
    let name = unsafe { needed_name(name) };
    let made = name.and_then(|name| Ok((name, xavier_file(name, dims, activation, seed)?)));
    match made {
        Ok((name, file)) => to_handle(registry::load(Some(name), &file)),
        Err(failure) => refused(failure),
    }
}

/// The model file of a network with random weights.
fn xavier_file(name: Name, dims: &[u32], activation: u32, seed: u64) -> Outcome<KVVec<u8>> {
    let refuse = |error| Failure::from_core(error, Kind::Model);
    let no_memory = |_| Failure::memory("a network", dims.len() * 64);
    let hidden = u16::try_from(activation)
        .ok()
        .and_then(|code| Activation::from_code(code, LEAKY_SLOPE))
        .ok_or_else(|| failure!(EINVAL, Model, "activation: {activation} is unknown"))?;
    let last = dims.len() - 2;
    let mut specs = KVec::with_capacity(dims.len(), GFP_KERNEL).map_err(no_memory)?;
    for (layer, pair) in dims.windows(2).enumerate() {
        // The last layer is linear, so that outputs can take any value.
        let layer_activation = if layer == last {
            Activation::Linear
        } else {
            hidden
        };
        let spec = DenseSpec {
            inputs: pair[0],
            outputs: pair[1],
            activation: layer_activation,
        };
        specs.push(spec, GFP_KERNEL).map_err(no_memory)?;
    }
    let size = nnm::dense_file_bytes(&specs).map_err(refuse)?;
    if size as u64 > crate::model::MAX_MODEL_BYTES {
        return Err(failure!(
            E2BIG,
            Model,
            "dims: the model would have {size} bytes"
        ));
    }
    let mut file = KVVec::from_elem(0u8, size, GFP_KERNEL | __GFP_NOWARN)
        .map_err(|_| Failure::memory("the model file", size))?;
    let mut fill = |layer: usize, part: Part, bytes: &mut [u8]| {
        if let (Part::Weights, Some(spec)) = (part, specs.get(layer)) {
            let seed = seed.wrapping_add(layer as u64);
            // Cannot fail: `write_dense` gives a buffer of the right size.
            let _ = init::xavier(spec.inputs, spec.outputs, seed, bytes);
        }
    };
    nnm::write_dense(name.as_str(), &specs, &mut fill, &mut file).map_err(refuse)?;
    Ok(file)
}

/// # Safety
///
/// `nn` is a reference that the caller holds.
unsafe fn borrow<'a>(nn: *const Network) -> &'a Network {
    // SAFETY: By this function's requirements; references come from `into_raw`.
    unsafe { &*nn }
}

/// Replaces the model of a network.
///
/// # Safety
///
/// The caller holds a reference to `nn`; `data` addresses `size` bytes.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_replace(
    nn: *mut Network,
    data: *const c_void,
    size: usize,
) -> c_int {
    if data.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: By this function's requirements.
    let (network, bytes) = unsafe {
        (
            borrow(nn),
            core::slice::from_raw_parts(data.cast::<u8>(), size),
        )
    };
    to_c(registry::replace(network, bytes))
}

/// Finds a network by name and returns a reference to it, or an error pointer.
///
/// # Safety
///
/// `name` is a string.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_get(name: *const c_char) -> *mut Network {
    // SAFETY: By this function's requirements.
    match unsafe { needed_name(name) }.and_then(|name| registry::by_name(&name)) {
        Ok(network) => network.into_raw().as_ptr(),
        Err(failure) => failure.errno.to_ptr(),
    }
}

/// Gives a reference back.
///
/// # Safety
///
/// `nn` is a reference that the caller holds and does not use any more, null, or an error pointer.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_put(nn: *mut Network) {
    if let (Ok(_), Some(raw)) = (kernel::error::from_err_ptr(nn), NonNull::new(nn)) {
        // SAFETY: By this function's requirements.
        drop(unsafe { SlabArc::from_raw(raw) });
    }
}

/// Unloads a network by name; references stay good.
///
/// # Safety
///
/// `name` is a string.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_unload(name: *const c_char) -> c_int {
    // SAFETY: By this function's requirements.
    let name = unsafe { needed_name(name) };
    to_c(name.and_then(|name| registry::unload(&name)).map(|_| ()))
}

/// Elements of an input.
///
/// # Safety
///
/// The caller holds a reference to `nn`.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_input_dim(nn: *const Network) -> c_uint {
    // SAFETY: By this function's requirements.
    unsafe { borrow(nn) }.ports.input.dim
}

/// Elements of an output.
///
/// # Safety
///
/// The caller holds a reference to `nn`.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_output_dim(nn: *const Network) -> c_uint {
    // SAFETY: By this function's requirements.
    unsafe { borrow(nn) }.ports.output.dim
}

/// Bytes of an input.
///
/// # Safety
///
/// The caller holds a reference to `nn`.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_input_bytes(nn: *const Network) -> usize {
    // SAFETY: By this function's requirements.
    unsafe { borrow(nn) }.input_bytes
}

/// Bytes of an output.
///
/// # Safety
///
/// The caller holds a reference to `nn`.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_output_bytes(nn: *const Network) -> usize {
    // SAFETY: By this function's requirements.
    unsafe { borrow(nn) }.output_bytes
}

/// The type of the elements, as the user ABI numbers it.
///
/// # Safety
///
/// The caller holds a reference to `nn`.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_dtype(nn: *const Network) -> c_uint {
    // SAFETY: By this function's requirements.
    unsafe { borrow(nn) }.ports.dtype.code().into()
}

/// Changes settings: lines as the debugfs file `config` takes them.
///
/// # Safety
///
/// The caller holds a reference to `nn`; `line` is a string.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_configure(
    nn: *mut Network,
    line: *const c_char,
) -> c_int {
    if line.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: By this function's requirements.
    let (network, line) = unsafe { (borrow(nn), CStr::from_char_ptr(line)) };
    to_c(network.configure(line.to_bytes()))
}

/// Predicts one sample.
///
/// # Safety
///
/// The caller holds a reference to `nn`; `input` and `output` address as many elements as the
/// network has.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_network_predict(
    nn: *mut Network,
    input: *const c_void,
    output: *mut c_void,
) -> c_int {
    if nn.is_null() || input.is_null() || output.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: By this function's requirements.
    let network = unsafe { borrow(nn) };
    let (from, to) = (input.addr(), output.addr());
    if from < to.saturating_add(network.output_bytes)
        && to < from.saturating_add(network.input_bytes)
    {
        network.count_error(Kind::Input);
        return EINVAL.to_errno();
    }
    // SAFETY: By this function's requirements; they do not overlap.
    let (input, output) = unsafe {
        (
            core::slice::from_raw_parts(input.cast::<u8>(), network.input_bytes),
            core::slice::from_raw_parts_mut(output.cast::<u8>(), network.output_bytes),
        )
    };
    to_c(network.predict(input, output))
}

/// `struct neural_batch`.
#[repr(C)]
pub(crate) struct Batch {
    batch_size: c_uint,
    input_dim: c_uint,
    output_dim: c_uint,
    inputs: *mut *mut i32,
    outputs: *mut *mut i32,
    private: *mut c_void,
}

/// What the module keeps of a batch.
struct BatchMemory {
    /// The pointers that `inputs` and `outputs` show.
    pointers: KVVec<*mut i32>,
    /// What they point to: all inputs, one behind the other, then all outputs.
    words: KVVec<i32>,
    works: WorkSet,
    sizes: (c_uint, c_uint, c_uint),
    element_bytes: usize,
}

/// Room for `size` samples of elements of `element_bytes` bytes.
fn new_batch(
    size: c_uint,
    input_dim: c_uint,
    output_dim: c_uint,
    element_bytes: usize,
) -> Result<KBox<Batch>> {
    if !(1..=super::uabi::BATCH_MAX).contains(&size) {
        return Err(EINVAL);
    }
    // CAST: Widening.
    let n = size as usize;
    // CAST: Widening.
    let bytes = |dim: c_uint| element_bytes.checked_mul(dim as usize).ok_or(EOVERFLOW);
    let (inputs, outputs) = (bytes(input_dim)?, bytes(output_dim)?);
    let all = inputs
        .checked_add(outputs)
        .and_then(|sum| sum.checked_mul(n));
    let flags = GFP_KERNEL | __GFP_NOWARN;
    let mut words = KVVec::from_elem(0i32, all.ok_or(EOVERFLOW)?.div_ceil(WORD), flags)?;
    let mut pointers = KVVec::with_capacity(2 * n, flags)?;
    let start = words.as_mut_ptr();
    for i in 0..n {
        pointers.push(start.wrapping_byte_add(i * inputs), flags)?;
    }
    for i in 0..n {
        pointers.push(start.wrapping_byte_add(n * inputs + i * outputs), flags)?;
    }
    let mut memory = KBox::new(
        BatchMemory {
            pointers,
            words,
            works: WorkSet::new(work::batch_items())?,
            sizes: (size, input_dim, output_dim),
            element_bytes,
        },
        flags,
    )?;
    let (ins, outs) = memory.pointers.split_at_mut(n);
    let mut batch = KBox::new(
        Batch {
            batch_size: size,
            input_dim,
            output_dim,
            inputs: ins.as_mut_ptr(),
            outputs: outs.as_mut_ptr(),
            private: ptr::null_mut(),
        },
        flags,
    )?;
    // Nothing can fail from here on.
    batch.private = KBox::into_raw(memory).cast();
    Ok(batch)
}

/// Makes a batch, or returns null when a size is wrong or memory is short.
#[no_mangle]
pub(crate) extern "C" fn neural_batch_create(
    batch_size: c_uint,
    input_dim: c_uint,
    output_dim: c_uint,
) -> *mut Batch {
    let dims = 1..=4096;
    if !dims.contains(&input_dim) || !dims.contains(&output_dim) {
        return ptr::null_mut();
    }
    new_batch(batch_size, input_dim, output_dim, WORD).map_or(ptr::null_mut(), KBox::into_raw)
}

/// Makes a batch of the elements of a network, or returns null when the size is wrong or memory is
/// short.
///
/// # Safety
///
/// The caller holds a reference to `nn`.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_batch_create_for(
    nn: *const Network,
    batch_size: c_uint,
) -> *mut Batch {
    // SAFETY: By this function's requirements.
    let network = unsafe { borrow(nn) };
    let ports = &network.ports;
    // CAST: At most 4.
    let element_bytes = ports.dtype.bytes() as usize;
    new_batch(batch_size, ports.input.dim, ports.output.dim, element_bytes)
        .map_or(ptr::null_mut(), KBox::into_raw)
}

/// Predicts all samples of a batch, over the allowed CPUs when it is large.
///
/// # Safety
///
/// The caller holds a reference to `nn`; `batch` comes from [`neural_batch_create`] or
/// [`neural_batch_create_for`], its pointers were not changed, and nobody else uses it meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_batch_predict(nn: *mut Network, batch: *mut Batch) -> c_int {
    // SAFETY: By this function's requirements.
    let (network, batch) = unsafe { (borrow(nn), &mut *batch) };
    // SAFETY: `private` was set by `new_batch`.
    let memory = unsafe { &mut *batch.private.cast::<BatchMemory>() };
    if memory.sizes != (batch.batch_size, batch.input_dim, batch.output_dim) {
        return EINVAL.to_errno();
    }
    // CAST: Widening.
    let (n, inputs, outputs) = (
        batch.batch_size as usize,
        memory.element_bytes * batch.input_dim as usize,
        memory.element_bytes * batch.output_dim as usize,
    );
    let start = memory.words.as_mut_ptr().cast::<u8>();
    // SAFETY: `new_batch` has made the memory as large as this, all of it is initialised, and nobody
    // else uses it meanwhile.
    let (ins, outs) = unsafe {
        (
            core::slice::from_raw_parts(start, n * inputs),
            core::slice::from_raw_parts_mut(start.add(n * inputs), n * outputs),
        )
    };
    let samples = Samples::packed(ins, inputs, outs, outputs);
    to_c(network.predict_batch(&samples, &mut memory.works))
}

/// Frees a batch.
///
/// # Safety
///
/// `batch` comes from [`neural_batch_create`] or [`neural_batch_create_for`] and is not used any more, or is null.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_batch_free(batch: *mut Batch) {
    if batch.is_null() {
        return;
    }
    // SAFETY: By this function's requirements; both were made by `new_batch`.
    unsafe {
        let batch = KBox::from_raw(batch);
        drop(KBox::from_raw(batch.private.cast::<BatchMemory>()));
    }
}

/// Allocates zeroed, page-aligned memory on a node, or as the module parameters say.
#[no_mangle]
pub(crate) extern "C" fn neural_alloc_numa(size: usize, node: c_int) -> *mut c_void {
    if size == 0 || size > 1 << 40 {
        return ptr::null_mut();
    }
    let placement = match network::default_spread() {
        _ if cpu::node_has_memory(node) => buf::Placement::On(node),
        _ if node != -1 => return ptr::null_mut(),
        spread => spread.weights(),
    };
    buf::alloc_raw(size, placement).map_or(ptr::null_mut(), |addr| addr.as_ptr())
}

/// Frees what [`neural_alloc_numa`] gave.
///
/// # Safety
///
/// `mem` comes from [`neural_alloc_numa`] and is not used any more, or is null.
#[no_mangle]
pub(crate) unsafe extern "C" fn neural_free_numa(mem: *mut c_void) {
    // SAFETY: By this function's requirements.
    unsafe { buf::free_raw(mem) };
}

#[cfg(NEURAL_KUNIT)]
#[kunit_tests(neural_memory)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_given_out_is_counted_until_it_comes_back() {
        let (before, _) = buf::usage();
        let mem = neural_alloc_numa(3 * kernel::page::PAGE_SIZE + 1, -1);
        assert!(!mem.is_null());
        let (now, peak) = buf::usage();
        assert_eq!(now, before + 4 * kernel::page::PAGE_SIZE as u64);
        assert!(peak >= now);
        // SAFETY: It was given just now.
        unsafe { neural_free_numa(mem) };
        assert_eq!(buf::usage().0, before);
    }
}
