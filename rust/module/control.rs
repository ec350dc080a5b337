// SPDX-License-Identifier: GPL-2.0

//! The requests of `/dev/neural`, as `include/uapi/linux/neural.h` describes them.
//!
//! Everything that comes from user space is copied once and checked before it is used. Context:
//! task, may sleep; no lock is held while user memory is touched.

use core::fmt::Write;

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use crate::{
    debugfs,
    dispatch,
    failure::{
        failure,
        Failure,
        Kind,
        Line,
        Outcome, //
    },
    model,
    network::{
        Name,
        Network, //
    },
    registry,
    settings,
    sys::{
        chardev::Handler,
        cpu,
        samples::Samples,
        slab::SlabArc,
        uabi::{
            self,
            Msg, //
        },
        work::{
            self,
            WorkSet, //
        }, //
    }, //
};

/// Inputs and outputs up to this many bytes together are copied to the stack.
const STACK_BYTES: usize = 512;

/// A batch is copied in pieces of about this many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// An open `/dev/neural`.
#[pin_data]
pub(crate) struct Handle {
    /// Memory that is kept between requests, so that they do not allocate each time.
    #[pin]
    spare: Mutex<KVVec<u8>>,
}

fn slice(address: u64, len: usize) -> UserSlice {
    // CAST: Addresses are 64 bits wide here; on others, too large an address is a bad address.
    UserSlice::new(UserPtr::from_addr(address as usize), len)
}

fn read<T: FromBytes + AsBytes>(arg: usize, value: &mut T) -> Result {
    UserSlice::new(UserPtr::from_addr(arg), core::mem::size_of::<T>())
        .reader()
        .read_slice(value.as_bytes_mut())
}

fn write<T: AsBytes>(arg: usize, value: &T) -> Result {
    UserSlice::new(UserPtr::from_addr(arg), core::mem::size_of::<T>())
        .writer()
        .write(value)
}

fn fault(what: &str) -> impl Fn(Error) -> Failure + '_ {
    move |error| match error {
        ENOMEM => failure!(ENOMEM, Memory, "memory: no room for {what}"),
        _ => failure!(error, Input, "{what}: address cannot be read or written"),
    }
}

fn tell(msg: &Msg, line: &Line) {
    let len = (msg.len as usize).min(crate::failure::LINE_LEN + 1);
    if msg.text == 0 || len == 0 {
        return;
    }
    let text = line.as_bytes();
    let text = text.get(..text.len().min(len - 1)).unwrap_or(text);
    let mut writer = slice(msg.text, len).writer();
    // The caller gets the error number in any case.
    let _ = writer
        .write_slice(text)
        .and_then(|()| writer.write_slice(&[0]));
}

#[inline(never)]
fn zero(field: &str, value: u64) -> Outcome {
    if value == 0 {
        return Ok(());
    }
    Err(failure!(EINVAL, Input, "{field}: must be 0, not {value}"))
}

/// Copies a request in, handles it, copies it out; on failure tells why.
#[inline(never)]
fn request<T: FromBytes + AsBytes + Zeroable>(
    arg: usize,
    msg: impl Fn(&T) -> Msg,
    handle: impl FnOnce(&mut T) -> Outcome,
) -> Result<isize> {
    // Read in place, so that it is on the stack once only.
    let mut value: T = pin_init::zeroed();
    read(arg, &mut value)?;
    // What cannot be written back is refused before anything happens.
    write(arg, &value)?;
    let msg = msg(&value);
    let mut result = zero("msg.reserved", msg.reserved.into());
    if result.is_ok() {
        result = handle(&mut value);
    }
    match &result {
        Ok(()) => {
            write(arg, &value)?;
            Ok(0)
        }
        Err(failure) => {
            tell(&msg, &failure.line);
            Err(failure.errno)
        }
    }
}

impl Handle {
    /// Makes the state of a file that is being opened.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Handle {
            spare <- new_mutex!(KVVec::new(), "neural_handle"),
        })
    }

    /// Calls `use_it` with `len` bytes of memory.
    #[inline(never)]
    fn with_memory<R>(
        &self,
        len: usize,
        use_it: impl FnOnce(&mut [u8]) -> Outcome<R>,
    ) -> Outcome<R> {
        let mut memory = core::mem::replace(&mut *self.spare.lock(), KVVec::new());
        if memory.len() < len {
            let missing = len - memory.len();
            memory
                .extend_with(missing, 0, GFP_KERNEL | __GFP_NOWARN)
                .map_err(|_| Failure::memory("samples", len))?;
        }
        let result = match memory.get_mut(..len) {
            Some(part) => use_it(part),
            None => Err(Failure::memory("samples", len)),
        };
        let mut spare = self.spare.lock();
        if (spare.len()..=CHUNK_BYTES).contains(&memory.len()) {
            *spare = memory;
        }
        result
    }

    #[inline(never)]
    fn predict(&self, request: &uabi::Predict) -> Outcome {
        let network = checked(request, 1)?;
        let (inputs, outputs) = (request.input_bytes as usize, request.output_bytes as usize);
        let run = |memory: &mut [u8]| {
            let (input, output) = memory.split_at_mut(inputs);
            if let Err(error) = slice(request.input, inputs).reader().read_slice(input) {
                return Err(fault("input")(error));
            }
            network.predict(input, output)?;
            match slice(request.output, outputs).writer().write_slice(output) {
                Ok(()) => Ok(()),
                Err(error) => Err(fault("output")(error)),
            }
        };
        let result = if inputs + outputs <= STACK_BYTES {
            on_stack(inputs + outputs, run)
        } else {
            self.with_memory(inputs + outputs, run)
        };
        if let Err(failure) = &result {
            count_fault(&network, failure);
        }
        result
    }

    #[inline(never)]
    fn predict_batch(&self, request: &uabi::Predict) -> Outcome {
        let network = checked(request, uabi::BATCH_MAX)?;
        let (inputs, outputs) = (request.input_bytes as usize, request.output_bytes as usize);
        let count = request.count as usize;
        let chunk = CHUNK_BYTES
            .checked_div(inputs + outputs)
            .unwrap_or(1)
            .clamp(1, count.max(1));
        let mut works = WorkSet::new(work::batch_items())
            .map_err(|_| Failure::memory("work items", 64 * work::batch_items()))?;
        let mut done = 0;
        let start = cpu::now_ns();
        let result = self.with_memory(chunk * (inputs + outputs), |memory| {
            while done < count {
                let now = chunk.min(count - done);
                let (input, output) = memory.split_at_mut(chunk * inputs);
                let (input, _) = input.split_at_mut(now * inputs);
                let (output, _) = output.split_at_mut(now * outputs);
                let at = |base: u64, bytes: usize| base.wrapping_add((done * bytes) as u64);
                slice(at(request.input, inputs), input.len())
                    .reader()
                    .read_slice(input)
                    .map_err(fault("input"))?;
                let samples = Samples::packed(input, inputs, output, outputs);
                network.predict_part(&samples, &mut works)?;
                slice(at(request.output, outputs), now * outputs)
                    .writer()
                    .write_slice(output)
                    .map_err(fault("output"))?;
                done += now;
            }
            Ok(())
        });
        network.batch_done(start, count, &result);
        result.inspect_err(|failure| count_fault(&network, failure))
    }
}

/// Calls `use_it` with `len` bytes, at most [`STACK_BYTES`], in a frame that only small samples have.
#[inline(never)]
fn on_stack<R>(len: usize, use_it: impl FnOnce(&mut [u8]) -> Outcome<R>) -> Outcome<R> {
    let mut stack = [0u8; STACK_BYTES];
    use_it(stack.get_mut(..len).unwrap_or(&mut []))
}

/// Counts what failed outside of the prediction itself: copying.
fn count_fault(network: &Network, failure: &Failure) {
    if failure.errno == EFAULT {
        network.count_error(Kind::Input);
    }
}

/// The network of a prediction whose sizes are right.
#[inline(never)]
fn checked(request: &uabi::Predict, most: u32) -> Outcome<SlabArc<Network>> {
    zero("flags", request.flags.into())?;
    zero("reserved", request.reserved.into())?;
    let network = registry::by_id(request.id)?;
    let result = if request.count == 0 || request.count > most {
        Err(failure!(
            EINVAL,
            Input,
            "count: must be 1 to {most}, not {}",
            request.count
        ))
    } else if (request.input_bytes as usize, request.output_bytes as usize)
        != (network.input_bytes, network.output_bytes)
    {
        Err(failure!(
            EINVAL,
            Input,
            "input_bytes, output_bytes: {} takes {} and {}, not {} and {}",
            network.name.as_str(),
            network.input_bytes,
            network.output_bytes,
            request.input_bytes,
            request.output_bytes
        ))
    } else {
        Ok(())
    };
    match result {
        Ok(()) => Ok(network),
        Err(failure) => {
            network.count_error(Kind::Input);
            Err(failure)
        }
    }
}

#[inline(never)]
fn query(query: &mut uabi::Query) -> Outcome {
    zero("reserved", query.reserved[0] | query.reserved[1])?;
    query.abi_version = uabi::ABI_VERSION;
    // CAST: At most 4096.
    query.networks = registry::count() as u32;
    query.features = uabi::FEATURES;
    if dispatch::has_vector() {
        query.features |= uabi::FEATURE_F32;
    }
    query.max_model_bytes = model::MAX_MODEL_BYTES;
    Ok(())
}

/// Calls `use_it` with the bytes of the model file that a request names.
fn with_file<T>(
    load: &uabi::Load,
    name: Option<&Name>,
    use_it: impl FnOnce(&[u8]) -> Outcome<T>,
) -> Outcome<T> {
    zero("reserved", load.reserved[0] | load.reserved[1])?;
    if load.flags & !uabi::LOAD_FIRMWARE != 0 {
        return Err(failure!(
            EINVAL,
            Input,
            "flags: {:#x} is unknown",
            load.flags
        ));
    }
    if load.flags & uabi::LOAD_FIRMWARE != 0 {
        zero("data", load.data)?;
        zero("size", load.size)?;
        return match name {
            Some(name) => registry::with_firmware(name, use_it),
            None => Err(failure!(
                EINVAL,
                Input,
                "name: is needed to find the firmware file"
            )),
        };
    }
    if load.size > model::MAX_MODEL_BYTES {
        return Err(failure!(
            E2BIG,
            Model,
            "size: {} bytes are more than {}",
            load.size,
            model::MAX_MODEL_BYTES
        ));
    }
    // CAST: Just checked.
    let size = load.size as usize;
    let mut bytes = KVVec::with_capacity(size, GFP_KERNEL | __GFP_NOWARN)
        .map_err(|_| Failure::memory("the model file", size))?;
    slice(load.data, size)
        .read_all(&mut bytes, GFP_KERNEL)
        .map_err(fault("data"))?;
    use_it(&bytes)
}

fn optional_name(name: &[u8; 32]) -> Outcome<Option<Name>> {
    if name[0] == 0 {
        return Ok(None);
    }
    Name::from_field(name).map(Some)
}

#[inline(never)]
fn load(load: &mut uabi::Load) -> Outcome {
    let name = optional_name(&load.name)?;
    let network = with_file(load, name.as_ref(), |bytes| registry::load(name, bytes))?;
    load.id = network.id;
    load.name = *network.name.bytes();
    Ok(())
}

#[inline(never)]
fn replace(load: &mut uabi::Load) -> Outcome {
    let name = Name::from_field(&load.name)?;
    let network = registry::by_name(&name)?;
    with_file(load, Some(&name), |bytes| {
        registry::replace(&network, bytes)
    })?;
    load.id = network.id;
    Ok(())
}

#[inline(never)]
fn unload(request: &mut uabi::Name) -> Outcome {
    zero("reserved", request.reserved.into())?;
    request.id = registry::unload(&Name::from_field(&request.name)?)?;
    Ok(())
}

#[inline(never)]
fn find(request: &mut uabi::Name) -> Outcome {
    zero("reserved", request.reserved.into())?;
    request.id = registry::by_name(&Name::from_field(&request.name)?)?.id;
    Ok(())
}

fn info(network: &Network) -> Outcome<uabi::Info> {
    let model = network
        .model()
        .ok_or_else(|| failure!(ENODEV, Model, "list: a network has no model"))?;
    let ports = &model.ports;
    Ok(uabi::Info {
        name: *network.name.bytes(),
        id: network.id,
        dtype: ports.dtype.code().into(),
        input_dim: ports.input.dim,
        output_dim: ports.output.dim,
        // CAST: Limited by the file format.
        layers: model.layers().count() as u32,
        generation: model.generation,
        macs: model.plan().macs,
        weight_bytes: model.plan().weight_bytes as u64,
        memory_bytes: network.memory() as u64,
        input_scale: ports.input.scale_bits,
        input_zero_point: ports.input.zero_point,
        output_scale: ports.output.scale_bits,
        output_zero_point: ports.output.zero_point,
    })
}

#[inline(never)]
fn list(list: &mut uabi::List) -> Outcome {
    let mut count = 0u32;
    let mut result = Ok(());
    let size = core::mem::size_of::<uabi::Info>();
    registry::for_each(|network| {
        if count < list.capacity && result.is_ok() {
            let place = slice(
                list.infos.wrapping_add(u64::from(count) * size as u64),
                size,
            );
            result =
                info(network).and_then(|info| place.writer().write(&info).map_err(fault("infos")));
        }
        count += 1;
    });
    list.count = count;
    result
}

#[inline(never)]
fn stats(stats: &mut uabi::Stats) -> Outcome {
    zero("reserved", stats.reserved.into())?;
    let sum = if stats.id == 0 {
        registry::total()
    } else {
        registry::by_id(stats.id)?.snapshot()
    };
    stats.predictions = sum.predictions;
    stats.batches = sum.batches;
    stats.cache_hits = sum.cache_hits;
    stats.cache_misses = sum.cache_misses;
    stats.cache_expired = sum.cache_expired;
    stats.simd_ops = sum.simd_ops;
    stats.total_ns = sum.total_ns;
    stats.p50_ns = sum.percentile_ns(5000);
    stats.p99_ns = sum.percentile_ns(9900);
    stats.p999_ns = sum.percentile_ns(9990);
    stats.memory_bytes = sum.memory_bytes;
    stats.memory_peak_bytes = sum.memory_peak_bytes;
    stats.errors = sum.errors;
    stats.histogram = sum.histogram;
    Ok(())
}

/// Text in memory of its own, grown as it is written.
struct Text(KVVec<u8>);

impl Write for Text {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.0
            .extend_from_slice(s.as_bytes(), GFP_KERNEL)
            .map_err(|_| core::fmt::Error)
    }
}

#[inline(never)]
fn config_get(config: &mut uabi::Config) -> Outcome {
    let network = registry::by_id(config.id)?;
    let mut text = Text(KVVec::new());
    debugfs::write_config(&network, &mut text).map_err(|_| Failure::memory("text", 4096))?;
    if text.0.len() > config.len as usize {
        return Err(failure!(
            ENOSPC,
            Input,
            "len: the text has {} bytes, the buffer {}",
            text.0.len(),
            config.len
        ));
    }
    slice(config.text, text.0.len())
        .writer()
        .write_slice(&text.0)
        .map_err(fault("text"))?;
    // CAST: Not above `len`.
    config.len = text.0.len() as u32;
    Ok(())
}

#[inline(never)]
fn config_set(config: &mut uabi::Config) -> Outcome {
    let network = registry::by_id(config.id)?;
    let len = config.len as usize;
    if len > settings::MAX_TEXT {
        return Err(failure!(
            E2BIG,
            Config,
            "len: {len} bytes are more than {}",
            settings::MAX_TEXT
        ));
    }
    let mut text = KVVec::new();
    slice(config.text, len)
        .read_all(&mut text, GFP_KERNEL)
        .map_err(fault("text"))?;
    network.configure(&text)
}

impl Handler for Handle {
    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            uabi::QUERY => request(arg, |r: &uabi::Query| r.msg, query),
            uabi::LOAD => request(arg, |r: &uabi::Load| r.msg, load),
            uabi::REPLACE => request(arg, |r: &uabi::Load| r.msg, replace),
            uabi::UNLOAD => request(arg, |r: &uabi::Name| r.msg, unload),
            uabi::FIND => request(arg, |r: &uabi::Name| r.msg, find),
            uabi::LIST => request(arg, |r: &uabi::List| r.msg, list),
            uabi::PREDICT => request(arg, |r: &uabi::Predict| r.msg, |r| self.predict(r)),
            uabi::PREDICT_BATCH => {
                request(arg, |r: &uabi::Predict| r.msg, |r| self.predict_batch(r))
            }
            uabi::STATS => request(arg, |r: &uabi::Stats| r.msg, stats),
            uabi::CONFIG_GET => request(arg, |r: &uabi::Config| r.msg, config_get),
            uabi::CONFIG_SET => request(arg, |r: &uabi::Config| r.msg, config_set),
            _ => Err(ENOTTY),
        }
    }
}
