// SPDX-License-Identifier: GPL-2.0

//! The file: tensors, what they are made of, and who writes and reads them.

use super::flat::{Flat, Table};
use super::graph::{DType, Graph, Op, Quant, Tensor};
use super::{ops, schema};
use crate::error::{Error, Result};

/// The most elements of a tensor.
const MAX_ELEMENTS: usize = 1 << 31;
/// The most dimensions of a tensor.
const MAX_DIMS: usize = 6;

/// Reads a model of one graph; the constants of the graph stay in the file.
pub fn read(file: &[u8]) -> Result<Graph<'_>> {
    let flat = Flat::new(file);
    let model = flat.root(schema::ID)?;
    let version: u32 = model.number(schema::model::VERSION, 0, "model.version")?;
    if version != 3 {
        return Err(Error::refused(
            "model.version",
            format!("is {version}, only 3 is known"),
        ));
    }
    let graphs = model.tables(schema::model::SUBGRAPHS, "model.subgraphs")?;
    let [graph] = graphs.as_slice() else {
        let why = format!("are {}, only a single one is supported", graphs.len());
        return Err(Error::refused("model.subgraphs", why));
    };
    let buffers = model.tables(schema::model::BUFFERS, "model.buffers")?;
    let codes = model.tables(schema::model::OPERATOR_CODES, "model.operator_codes")?;
    let tensors = graph
        .tables(schema::graph::TENSORS, "tensors")?
        .iter()
        .enumerate()
        .map(|(i, table)| tensor(i, table, &buffers))
        .collect::<Result<Vec<_>>>()?;
    let mut read = Graph {
        inputs: indices(
            graph,
            schema::graph::INPUTS,
            "inputs of the graph",
            tensors.len(),
        )?,
        outputs: indices(
            graph,
            schema::graph::OUTPUTS,
            "outputs of the graph",
            tensors.len(),
        )?,
        tensors,
        ops: Vec::new(),
    };
    let mut written = Written::new(&read)?;
    for (i, table) in graph
        .tables(schema::graph::OPERATORS, "operators")?
        .iter()
        .enumerate()
    {
        let op = operator(i, table, &codes, &read)?;
        written
            .step(&op, &read)
            .map_err(|e| e.within(label(i, op.name)))?;
        read.ops.push(op);
    }
    written.end(&read)?;
    Ok(read)
}

/// What lines say of an operator.
pub(super) fn label(index: usize, name: &str) -> String {
    format!("operator {index} ({name})")
}

/// Indices of tensors, none of them left out.
fn indices(table: &Table<'_, '_>, id: usize, what: &str, tensors: usize) -> Result<Vec<usize>> {
    optional(table, id, what, tensors)?
        .into_iter()
        .map(|i| i.ok_or_else(|| Error::refused(what, "have one that is left out")))
        .collect()
}

/// Indices of tensors; -1 is one that is left out.
fn optional(
    table: &Table<'_, '_>,
    id: usize,
    what: &str,
    tensors: usize,
) -> Result<Vec<Option<usize>>> {
    table
        .numbers::<i32>(id, what)?
        .into_iter()
        .map(|i| match usize::try_from(i) {
            Ok(index) if index < tensors => Ok(Some(index)),
            Err(_) if i == -1 => Ok(None),
            _ => Err(Error::refused(
                what,
                format!("name tensor {i} of {tensors}"),
            )),
        })
        .collect()
}

fn tensor<'a>(
    index: usize,
    table: &Table<'_, 'a>,
    buffers: &[Table<'_, 'a>],
) -> Result<Tensor<'a>> {
    use schema::tensor as id;
    let mut name = table.text(id::NAME, "name of a tensor")?;
    if name.is_empty() {
        name = format!("#{index}");
    }
    let fail = |why: String| Error::refused(format!("tensor '{name}'"), why);
    let within = |e: Error| e.within(format!("tensor '{name}'"));
    let code: i8 = table.number(id::TYPE, 0, "type").map_err(within)?;
    let dtype = DType::new(code).ok_or_else(|| fail(format!("type {code} is not supported")))?;
    if table.has(id::SPARSITY, "sparsity").map_err(within)? {
        return Err(fail("is sparse, which is not supported".to_owned()));
    }
    if table.has(id::VARIANTS, "variant_tensors").map_err(within)? {
        return Err(fail(
            "holds other tensors, which is not supported".to_owned(),
        ));
    }
    let external: u32 = table
        .number(id::EXTERNAL_BUFFER, 0, "external_buffer")
        .map_err(within)?;
    if external != 0 {
        return Err(fail("has its data in another file".to_owned()));
    }
    let shape = shape(table, &fail).map_err(within)?;
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let elements = elements
        .filter(|n| *n < MAX_ELEMENTS)
        .ok_or_else(|| fail(format!("has {MAX_ELEMENTS} elements or more")))?;
    let number: u32 = table.number(id::BUFFER, 0, "buffer").map_err(within)?;
    let data = data(number, buffers).map_err(within)?;
    if let Some(data) = data {
        // Cannot overflow: below 2^34.
        if data.len() != elements * dtype.bytes() {
            let want = elements * dtype.bytes();
            return Err(fail(format!(
                "has {} bytes of data, not {want}",
                data.len()
            )));
        }
    }
    let variable = table.flag(id::IS_VARIABLE, "is_variable").map_err(within)?;
    if variable && data.is_some() {
        return Err(fail("is a variable that has data".to_owned()));
    }
    let quant = match table
        .table(id::QUANTIZATION, "quantization")
        .map_err(within)?
    {
        Some(q) => quant(&q, dtype, &shape, data.is_some(), &fail).map_err(within)?,
        None => None,
    };
    Ok(Tensor {
        name,
        shape,
        dtype,
        quant,
        data,
        variable,
    })
}

fn shape(table: &Table<'_, '_>, fail: &dyn Fn(String) -> Error) -> Result<Vec<usize>> {
    let shape = table.numbers::<i32>(schema::tensor::SHAPE, "shape")?;
    let signature = table.numbers::<i32>(schema::tensor::SHAPE_SIGNATURE, "shape_signature")?;
    if !signature.is_empty() && signature.len() != shape.len() {
        return Err(fail(
            "has a shape_signature that is not of its shape".to_owned(),
        ));
    }
    // An open batch is run as what the shape says, in general 1.
    let open = |(i, d): (usize, &i32)| *d < 0 && i != 0;
    if shape.iter().enumerate().any(|at| open(at) || *at.1 < 0)
        || signature.iter().enumerate().any(open)
    {
        return Err(fail(format!(
            "has a dynamic shape ({}), which is not supported",
            text(if signature.is_empty() {
                &shape
            } else {
                &signature
            })
        )));
    }
    if shape.len() > MAX_DIMS {
        let why = format!("has {} dimensions, more than {MAX_DIMS}", shape.len());
        return Err(fail(why));
    }
    Ok(shape
        .into_iter()
        .filter_map(|d| usize::try_from(d).ok())
        .collect())
}

fn text(shape: &[i32]) -> String {
    let shape: Vec<String> = shape.iter().take(9).map(i32::to_string).collect();
    shape.join(",")
}

/// The data of a tensor; buffer 0 and empty ones stand for none.
fn data<'a>(number: u32, buffers: &[Table<'_, 'a>]) -> Result<Option<&'a [u8]>> {
    if number == 0 {
        return Ok(None);
    }
    let Some(buffer) = buffers.get(number as usize) else {
        let why = format!("is {number}, there are {}", buffers.len());
        return Err(Error::refused("buffer", why));
    };
    let offset: u64 = buffer.number(schema::buffer::OFFSET, 0, "buffer.offset")?;
    if offset > 1 {
        let why = "data after the FlatBuffer are not supported";
        return Err(Error::refused("buffer.offset", why));
    }
    let data = buffer.bytes(schema::buffer::DATA, "buffer.data")?;
    Ok((!data.is_empty()).then_some(data))
}

fn quant(
    table: &Table<'_, '_>,
    dtype: DType,
    shape: &[usize],
    known: bool,
    fail: &dyn Fn(String) -> Error,
) -> Result<Option<Quant>> {
    use schema::quant as id;
    let scale = table.numbers::<f32>(id::SCALE, "scale")?;
    let details: u8 = table.number(id::DETAILS_TYPE, 0, "quantization.details_type")?;
    if details != 0 {
        return Err(fail("has a quantisation of another kind".to_owned()));
    }
    if scale.is_empty() || dtype == DType::F32 {
        return Ok(None);
    }
    if let Some(bad) = scale.iter().find(|s| !(s.is_normal() && **s > 0.0)) {
        return Err(fail(format!("has a scale of {bad:e}")));
    }
    let zeros = table.numbers::<i64>(id::ZERO_POINT, "zero_point")?;
    if !zeros.is_empty() && zeros.len() != scale.len() {
        let why = format!("has {} zero points for {} scales", zeros.len(), scale.len());
        return Err(fail(why));
    }
    let zero = zeros.first().copied().unwrap_or(0);
    if zeros.iter().any(|z| *z != zero) {
        return Err(fail("has several zero points".to_owned()));
    }
    let (low, high) = dtype.zeros();
    let zero = i32::try_from(zero)
        .ok()
        .filter(|z| (low..=high).contains(&i64::from(*z)))
        .ok_or_else(|| fail(format!("has the zero point {zero}, not {low} to {high}")))?;
    let axis: i32 = table.number(id::DIMENSION, 0, "quantized_dimension")?;
    let axis = usize::try_from(axis).unwrap_or(usize::MAX);
    if scale.len() > 1 {
        if !known {
            return Err(fail("is computed, and has more than one scale".to_owned()));
        }
        if shape.get(axis) != Some(&scale.len()) {
            let why = format!(
                "has {} scales, which its dimension {axis} has not",
                scale.len()
            );
            return Err(fail(why));
        }
    }
    Ok(Some(Quant {
        axis: if scale.len() > 1 { axis } else { 0 },
        scale,
        zero,
    }))
}

fn operator(
    index: usize,
    table: &Table<'_, '_>,
    codes: &[Table<'_, '_>],
    graph: &Graph<'_>,
) -> Result<Op> {
    use schema::{code, operator as id};
    let fail = |why: String| Error::refused(format!("operator {index}"), why);
    let which: u32 = table.number(id::CODE, 0, "opcode_index")?;
    let Some(entry) = codes.get(which as usize) else {
        return Err(fail(format!(
            "is of kind {which}, there are {}",
            codes.len()
        )));
    };
    let old: i8 = entry.number(code::DEPRECATED, 0, "deprecated_builtin_code")?;
    let new: i32 = entry.number(code::BUILTIN, 0, "builtin_code")?;
    let number = new.max(i32::from(old));
    let Some(name) = schema::name(number) else {
        return Err(fail(format!("is of the unknown kind {number}")));
    };
    if name == "CUSTOM" {
        let custom = entry.text(code::CUSTOM, "custom_code")?;
        return Err(fail(format!("CUSTOM '{custom}' is not supported")));
    }
    let options_type: u8 = table.number(id::OPTIONS_TYPE, 0, "builtin_options_type")?;
    let wanted = schema::options_of(name);
    let options = match options_type {
        0 => None,
        _ if wanted == 0 => None,
        have if have == wanted => table.table(id::OPTIONS, "builtin_options")?,
        have => {
            return Err(fail(format!(
                "{name} has options of kind {have}, not {wanted}"
            )))
        }
    };
    let tensors = graph.tensors.len();
    let inputs = optional(table, id::INPUTS, "inputs", tensors);
    let inputs = inputs.map_err(|e| e.within(label(index, name)))?;
    let outputs = indices(table, id::OUTPUTS, "outputs", tensors);
    let outputs = outputs.map_err(|e| e.within(label(index, name)))?;
    ops::check(name, options, inputs, outputs, &graph.tensors)
        .map_err(|e| e.within(label(index, name)))
}

/// Which tensors have values at a point of the execution.
struct Written(Vec<bool>);

impl Written {
    fn new(graph: &Graph<'_>) -> Result<Self> {
        let has = |t: &Tensor<'_>| t.data.is_some() || t.variable;
        let mut written = Self(graph.tensors.iter().map(has).collect());
        if graph.inputs.is_empty() || graph.outputs.is_empty() {
            return Err(Error::refused("graph", "has no inputs or no outputs"));
        }
        for input in &graph.inputs {
            let tensor = graph.tensor(*input)?;
            if tensor.elements() == 0 {
                return Err(tensor.refuse("is an input without elements"));
            }
            if tensor.variable || written.set(*input) {
                return Err(tensor.refuse("is an input, but is known, a variable, or named twice"));
            }
        }
        Ok(written)
    }

    /// Sets a tensor, and says whether it was set.
    fn set(&mut self, index: usize) -> bool {
        self.0
            .get_mut(index)
            .is_none_or(|known| std::mem::replace(known, true))
    }

    fn has(&self, index: usize) -> bool {
        self.0.get(index) == Some(&true)
    }

    fn step(&mut self, op: &Op, graph: &Graph<'_>) -> Result<()> {
        if let Some(early) = op.inputs.iter().flatten().find(|i| !self.has(**i)) {
            return Err(graph.tensor(*early)?.refuse("is read before it is written"));
        }
        for output in &op.outputs {
            if self.set(*output) {
                let why = "is written, but has a value already";
                return Err(graph.tensor(*output)?.refuse(why));
            }
        }
        Ok(())
    }

    fn end(&self, graph: &Graph<'_>) -> Result<()> {
        for output in &graph.outputs {
            let tensor = graph.tensor(*output)?;
            if !self.has(*output) || tensor.variable {
                return Err(tensor.refuse("is an output that nothing writes"));
            }
        }
        Ok(())
    }
}
