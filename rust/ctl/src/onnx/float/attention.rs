// SPDX-License-Identifier: GPL-2.0

//! Attention, as graphs spell it: a product of queries and keys, softmax, a product with values.

use neural_core::nnm::OpKind;

use super::value::{product, Value};
use super::{Done, Importer, Item};
use crate::onnx::node::Node;
use crate::onnx::tensor::Constant;

/// What a mask takes away is at most this.
const FAR_BELOW: f64 = -1e4;

/// What became of the products of queries and keys so far.
#[derive(Clone)]
pub(super) struct Scores {
    /// The node of the product.
    pub(super) label: String,
    q: u32,
    k: u32,
    /// What stands before queries and elements: the heads.
    lead: Vec<usize>,
    queries: usize,
    keys: usize,
    width: usize,
    scale: f64,
    causal: bool,
    shares: bool,
}

/// The order of memory with rows first, then heads, then elements.
fn heads_inside(rank: usize, rows: usize, elements: usize) -> Vec<usize> {
    let lead = 0..rank.saturating_sub(2);
    [rows].into_iter().chain(lead).chain([elements]).collect()
}

impl<'a> Importer<'a> {
    /// What a node is a part of attention, or of GELU, for.
    pub(super) fn attention(
        &mut self,
        node: Node<'a>,
        inputs: &[Option<Item>],
    ) -> Done<Option<Item>> {
        let [Some(a), rest @ ..] = inputs else {
            return Ok(None);
        };
        let b = rest.first().and_then(Option::as_ref);
        Ok(match (node.op(), a, b) {
            ("MatMul", Item::Value(q), Some(Item::Value(k))) => Some(self.products(q, k)?),
            ("Mul" | "Div", Item::Scores(s), Some(Item::Constant(c)))
            | ("Mul", Item::Constant(c), Some(Item::Scores(s))) => {
                let factor = match c.numbers()? {
                    [one] if node.op() == "Div" => 1.0 / one,
                    [one] => *one,
                    _ => return Err("scores have one factor only".to_owned()),
                };
                if s.shares || s.causal {
                    return Err("scores are scaled before they are masked".to_owned());
                }
                Some(Item::Scores(Box::new(Scores {
                    scale: s.scale * factor,
                    ..(**s).clone()
                })))
            }
            ("Add", Item::Scores(s), Some(Item::Constant(c)))
            | ("Add", Item::Constant(c), Some(Item::Scores(s))) => {
                let causal = s.masked(c)?;
                Some(Item::Scores(Box::new(Scores {
                    causal: s.causal || causal,
                    ..(**s).clone()
                })))
            }
            ("Softmax", Item::Scores(s), _) => {
                let rank = s.lead.len() + 2;
                let axis = self.axis(node, if self.opset < 13 { 1 } else { -1 }, rank)?;
                if axis + 1 != rank || s.shares {
                    return Err(format!("axis {axis} of scores is not that of the keys"));
                }
                Some(Item::Scores(Box::new(Scores {
                    shares: true,
                    ..(**s).clone()
                })))
            }
            ("MatMul", Item::Scores(s), Some(Item::Value(v))) => {
                Some(Item::Value(self.mixed(s, v)?))
            }
            _ => self.gelu(node, inputs)?,
        })
    }

    fn products(&mut self, q: &Value, k: &Value) -> Done<Item> {
        let refused = || {
            format!("a product of computed values {:?} and {:?} is no attention, which alone is supported", q.shape, k.shape)
        };
        let (rank, [lead @ .., queries, width]) = (q.shape.len(), q.shape.as_slice()) else {
            return Err(refused());
        };
        let [lead_k @ .., width_k, keys] = k.shape.as_slice() else {
            return Err(refused());
        };
        if lead != lead_k || width != width_k {
            return Err(refused());
        }
        let heads = product(lead);
        let (lead, queries, keys, width) = (lead.to_vec(), *queries, *keys, *width);
        let q = self.arranged(q, &heads_inside(rank, rank - 2, rank - 1))?;
        let k = self.arranged(k, &heads_inside(rank, rank - 1, rank - 2))?;
        Ok(Item::Scores(Box::new(Scores {
            label: self.net.label.clone(),
            q: self.seen_as(&q, &[queries, heads * width])?,
            k: self.seen_as(&k, &[keys, heads * width])?,
            lead,
            queries,
            keys,
            width,
            scale: 1.0,
            causal: false,
            shares: false,
        })))
    }

    /// Values by their shares.
    fn mixed(&mut self, s: &Scores, v: &Value) -> Done<Value> {
        let rank = v.shape.len();
        let want: Vec<usize> = s.lead.iter().copied().chain([s.keys, s.width]).collect();
        if v.shape != want || !s.shares {
            return Err(format!(
                "values of shape {:?} do not fit scores of {} keys with {} elements, or there is no softmax",
                v.shape, s.keys, s.width
            ));
        }
        let heads = product(&s.lead);
        let v = self.arranged(v, &heads_inside(rank, rank - 2, rank - 1))?;
        let v = self.seen_as(&v, &[s.keys, heads * s.width])?;
        let scale = s.scale as f32; // CAST: the nearest
        if !(scale.is_normal() && scale > 0.0) {
            return Err(format!("scores are scaled by {scale}"));
        }
        let to = self.net.activation(&[s.queries, heads * s.width], None)?;
        let heads = i32::try_from(heads).map_err(|e| e.to_string())?;
        // CAST: the bits.
        let params = [heads, i32::from(s.causal), scale.to_bits() as i32];
        let y = self.net.op(OpKind::Attention, &[s.q, s.k, v], &params, to);
        let shape: Vec<usize> = s.lead.iter().copied().chain([s.queries, s.width]).collect();
        Ok(Value {
            order: heads_inside(rank, rank - 2, rank - 1),
            ..Value::plain(y, shape)
        })
    }
}

impl Scores {
    /// Why they are refused where no attention goes on.
    pub(super) fn elsewhere(&self) -> String {
        let label = &self.label;
        format!("is made of two computed values by {label}, which is supported in attention only")
    }

    /// Whether a mask hides what comes later, as opposed to nothing.
    fn masked(&self, c: &Constant) -> Done<bool> {
        let refused = || {
            format!(
                "mask '{}' of shape {:?} is neither causal nor 0",
                c.name, c.dims
            )
        };
        let values = c.singles()?;
        if values.iter().all(|v| *v == 0.0) {
            return Ok(false);
        }
        if values.len() != self.queries * self.keys
            || !c.dims.ends_with(&[self.queries, self.keys])
            || self.shares
        {
            return Err(refused());
        }
        let rows = values.chunks_exact(self.keys.max(1));
        for (i, row) in rows.enumerate() {
            for (j, value) in row.iter().enumerate() {
                let seen = j + self.queries <= i + self.keys;
                if seen && *value != 0.0 || !seen && *value > FAR_BELOW {
                    return Err(refused());
                }
            }
        }
        Ok(true)
    }
}
