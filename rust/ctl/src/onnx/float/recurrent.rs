// SPDX-License-Identifier: GPL-2.0

//! LSTM and GRU.

use neural_core::nnm::OpKind;

use super::value::Value;
use super::{Done, Importer};
use crate::onnx::node::Node;

impl<'a> Importer<'a> {
    /// All states, and the last one.
    pub(super) fn recurrent(&mut self, node: Node<'a>) -> Done<Vec<Value>> {
        let x = self.value(node, 0)?;
        let lstm = node.op() == "LSTM";
        self.as_usual(node, lstm)?;
        let batch_first = node.flag("layout")?;
        let (steps, batch, width) = match x.shape.as_slice() {
            [batch, steps, width] if batch_first => (*steps, *batch, *width),
            [steps, batch, width] => (*steps, *batch, *width),
            other => return Err(format!("has an input of shape {other:?}")),
        };
        if batch != 1 {
            return Err(format!("has a batch of {batch}, only 1 is supported"));
        }
        let w = self.needed(node, 1, "weights of the input")?;
        let r = self.needed(node, 2, "weights of the state")?;
        let gates = if lstm { 4 } else { 3 };
        let rows = w.dims.get(1).copied().unwrap_or(0);
        let h = rows / gates;
        if h == 0 || w.dims != [1, gates * h, width] || r.dims != [1, gates * h, h] {
            return Err(format!(
                "weights of shapes {:?} and {:?} do not fit rows of {width}",
                w.dims, r.dims
            ));
        }
        let b = self.constant(node, 3, "bias")?;
        let none = vec![0.0; 2 * gates * h];
        let b = match &b {
            Some(b) if b.dims == [1, 2 * gates * h] => b.numbers()?,
            Some(b) => return Err(format!("bias '{}' has shape {:?}", b.name, b.dims)),
            None => &none,
        };
        let first = if lstm { &[5usize, 6][..] } else { &[5] };
        for i in first {
            if let Some(state) = self.constant(node, *i, "first state")? {
                if state.numbers()?.iter().any(|v| *v != 0.0) {
                    return Err("starts in a state that is not 0".to_owned());
                }
            }
        }
        // ONNX has input, output, forget, cell and update, reset, new.
        let order: &[usize] = if lstm { &[0, 2, 3, 1] } else { &[1, 0, 2] };
        let (of_x, of_h) = (w.numbers()?, r.numbers()?);
        let mut weights = Vec::new();
        self.spend((width + h).saturating_mul(gates * h))?;
        for row in order.iter().flat_map(|g| g * h..(g + 1) * h) {
            weights.extend(of_x.iter().skip(row * width).take(width));
            weights.extend(of_h.iter().skip(row * h).take(h));
        }
        let part = |half: usize| {
            let all = order.iter().flat_map(move |g| g * h..(g + 1) * h);
            all.map(move |row| b.get(half * gates * h + row).copied().unwrap_or(0.0))
        };
        let bias: Vec<f64> = match lstm {
            true => part(0).zip(part(1)).map(|(x, h)| x + h).collect(),
            false => part(0).chain(part(1)).collect(),
        };
        let x = self.in_order(&x)?;
        let from = self.seen_as(&x, &[steps, width])?;
        let weights = self.floats(&[gates * h, width + h], &weights)?;
        let bias = self.floats(&[bias.len()], &bias)?;
        let to = self.net.activation(&[steps, h], None)?;
        let kind = if lstm { OpKind::Lstm } else { OpKind::Gru };
        let y = self.net.op(kind, &[from, weights, bias], &[], to);
        let (shape, last_shape) = match batch_first {
            true => (vec![1, steps, 1, h], vec![1, 1, h]),
            false => (vec![steps, 1, 1, h], vec![1, 1, h]),
        };
        let all = Value::plain(y, shape);
        let used = |i: usize| {
            let name = node.outputs().get(i);
            name.is_some_and(|n| self.uses.contains_key(n.as_str()))
        };
        if !used(1) {
            return Ok(vec![all]);
        }
        let axis = usize::from(batch_first);
        let last = self.take(&all, axis, [steps.saturating_sub(1), 1, 1])?;
        let last = Value::plain(last.tensor, last_shape);
        Ok(vec![all, last])
    }

    /// Refuses what the engine does otherwise.
    fn as_usual(&mut self, node: Node<'a>, lstm: bool) -> Done<()> {
        if !matches!(node.text("direction"), None | Some("forward")) {
            return Err("a direction other than forward is not supported".to_owned());
        }
        let usual: &[&str] = if lstm {
            &["Sigmoid", "Tanh", "Tanh"]
        } else {
            &["Sigmoid", "Tanh"]
        };
        let named = node.texts("activations");
        if !named.is_empty() && !named.iter().map(String::as_str).eq(usual.iter().copied()) {
            return Err(format!(
                "activations {named:?} are not supported, only {usual:?}"
            ));
        }
        if node.has("clip") || lstm && node.flag("input_forget")? {
            return Err("clip and input_forget are not supported".to_owned());
        }
        if !lstm && !node.flag("linear_before_reset")? {
            return Err("linear_before_reset=0 is not supported".to_owned());
        }
        for (i, what) in [(4, "lengths of sequences"), (7, "peepholes")] {
            if self.item(node, i)?.is_some() {
                return Err(format!("{what} are not supported"));
            }
        }
        Ok(())
    }
}
