// SPDX-License-Identifier: GPL-2.0

//! Dense layers in floating point: what is read out of ONNX, and how it is evaluated as reference.

/// What a layer does to its sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Nothing.
    Linear,
    /// max(x, 0).
    Relu,
    /// x, or slope * x where x is negative.
    LeakyRelu(f64),
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// exp(x) / sum of exp over the layer.
    Softmax,
}

/// y = act(W x + b).
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Length of x.
    pub inputs: usize,
    /// Length of y.
    pub outputs: usize,
    /// W, `outputs` rows of `inputs`.
    pub weights: Vec<f64>,
    /// b.
    pub bias: Vec<f64>,
    /// act.
    pub act: Act,
    /// The tensor that the weights come from.
    pub weights_name: String,
    /// The tensor that the bias comes from, or the node.
    pub bias_name: String,
}

/// Layers, each of which takes what the one before it gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

impl Network {
    /// Elements of an input.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.inputs)
    }

    /// Elements of an output.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// The output for one input, in double precision.
    pub fn eval(&self, input: &[f64]) -> Vec<f64> {
        let mut x = input.to_vec();
        for layer in &self.layers {
            let mut y: Vec<f64> = layer
                .weights
                .chunks_exact(layer.inputs.max(1))
                .zip(&layer.bias)
                .map(|(row, b)| b + row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>())
                .collect();
            layer.act.apply(&mut y);
            x = y;
        }
        x
    }
}

impl Act {
    /// Applies the activation to the sums of a layer.
    pub fn apply(self, y: &mut [f64]) {
        let one = |f: fn(f64) -> f64, y: &mut [f64]| y.iter_mut().for_each(|v| *v = f(*v));
        match self {
            Act::Linear => (),
            Act::Relu => one(|v| v.max(0.0), y),
            Act::LeakyRelu(slope) => y.iter_mut().filter(|v| **v < 0.0).for_each(|v| *v *= slope),
            Act::Sigmoid => one(|v| 1.0 / (1.0 + (-v).exp()), y),
            Act::Tanh => one(f64::tanh, y),
            Act::Softmax => {
                let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                y.iter_mut().for_each(|v| *v = (*v - max).exp());
                let sum: f64 = y.iter().sum();
                y.iter_mut().for_each(|v| *v /= sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_network_gives_its_known_output() {
        let layer = |weights: &[f64], bias: &[f64], act| Layer {
            inputs: weights.len() / bias.len(),
            outputs: bias.len(),
            weights: weights.to_vec(),
            bias: bias.to_vec(),
            act,
            weights_name: String::new(),
            bias_name: String::new(),
        };
        let net = Network {
            layers: vec![
                layer(&[1.0, -1.0, 2.0, 0.5], &[0.0, -4.0], Act::LeakyRelu(0.5)),
                layer(&[2.0, 1.0], &[1.0], Act::Linear),
            ],
        };
        // [3-1, 6+0.5-4] = [2, 2.5]; 4 + 2.5 + 1
        assert_eq!(net.eval(&[3.0, 1.0]), [7.5]);
        // [-2, 2+1.5-4=-0.5] -> [-1, -0.25]; -2 - 0.25 + 1
        assert_eq!(net.eval(&[1.0, 3.0]), [-1.25]);
        assert_eq!((net.inputs(), net.outputs()), (2, 1));
    }

    #[test]
    fn activations_have_their_textbook_values() {
        let at = |act: Act, x: f64| {
            let mut y = [x];
            act.apply(&mut y);
            y[0]
        };
        assert_eq!(at(Act::Relu, -1.0), 0.0);
        assert!((at(Act::Sigmoid, 1.0) - 0.731_058_578_630_004_9).abs() < 1e-15);
        assert!((at(Act::Tanh, 1.0) - 0.761_594_155_955_764_9).abs() < 1e-15);
        let mut y = [1000.0, 1000.0 + 2f64.ln()];
        Act::Softmax.apply(&mut y);
        assert!((y[0] - 1.0 / 3.0).abs() < 1e-12 && (y[1] - 2.0 / 3.0).abs() < 1e-12);
    }
}
