// SPDX-License-Identifier: GPL-2.0

//! The kinds of operations: one table, from which codes, names and the list come.

/// Makes the enum and what must name all of it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $name:literal;)*) => {
        /// What an operation does.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub enum OpKind {
            $($(#[$doc])* $kind,)*
        }

        impl OpKind {
            /// All, in the order of their codes.
            pub const ALL: &'static [OpKind] = &[$(OpKind::$kind),*];

            /// The code in model files.
            pub const fn code(self) -> u16 {
                match self {
                    $(OpKind::$kind => $code,)*
                }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(OpKind::$kind => $name,)*
                }
            }

            pub(super) fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(OpKind::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// `y = act(W x + b)` on each row of `x`; operands: `x`, `W`, `b`, and for `i8` the requantisation.
    Dense = 1, "dense";
    /// Convolution; operands: `x[h, w, c]`, `W[n, kh, kw, c]`, `b[n]`, requantisation.
    Conv2d = 2, "conv_2d";
    /// A window for each channel; operands: `x[h, w, c]`, `W[kh, kw, c]`, `b[c]`, requantisation.
    DepthwiseConv2d = 3, "depthwise_conv_2d";
    /// The mean of each channel over a window; operand: `x[h, w, c]`.
    AveragePool2d = 4, "average_pool_2d";
    /// The greatest of each channel in a window; operand: `x[h, w, c]`.
    MaxPool2d = 5, "max_pool_2d";
    /// `y = a + b`; operands: `a`, `b` (of the same shape, or a part of it that repeats), requantisation.
    Add = 6, "add";
    /// `y = a - b`; as [`OpKind::Add`].
    Sub = 7, "sub";
    /// `y = a b`, element by element; as [`OpKind::Add`].
    Mul = 8, "mul";
    /// Two to four tensors side by side along an axis.
    Concat = 9, "concat";
    /// `x` with a border of one value.
    Pad = 10, "pad";
    /// The same elements in another shape.
    Reshape = 11, "reshape";
    /// `x` with its axes in another order.
    Transpose = 12, "transpose";
    /// The mean over all dimensions but the last; operand: `x`.
    Mean = 13, "mean";
    /// Softmax over each row of `x`.
    Softmax = 14, "softmax";
    /// Each code is replaced by what a table of 256 says; operands: `x`, `T[256]`.
    Lut = 15, "lut";
    /// A function of each element; `f32` only.
    Map = 16, "map";
    /// Layer norm of each row; operands: `x`, `gamma`, `beta`; `f32` only.
    LayerNorm = 17, "layer_norm";
    /// Root mean square norm of each row; operands: `x`, `gamma`; `f32` only.
    RmsNorm = 18, "rms_norm";
    /// `softmax(scale q k^T) v` for each head; operands: `q`, `k`, `v`; `f32` only.
    Attention = 19, "attention";
    /// Long short-term memory over a sequence; operands: `x[t, i]`, `W[4 h, i + h]`, `b[4 h]`, and for
    /// `i8` the requantisation `R[24]`.
    Lstm = 20, "lstm";
    /// One step of it; operands: `x[i]`, the state `s[2 h]` (`h`, then `c`), `W`, `b`; gives the next
    /// state; `f32` only.
    LstmCell = 21, "lstm_cell";
    /// Gated recurrent unit over a sequence; operands: `x[t, i]`, `W[3 h, i + h]`, `b[6 h]`; `f32` only.
    Gru = 22, "gru";
    /// One step of it; operands: `x[i]`, the state `h[h]`, `W`, `b`; gives the next state; `f32` only.
    GruCell = 23, "gru_cell";
    /// Cosine similarity with each row; operands: `x[d]`, `rows[n, d]`; `f32` only.
    Cosine = 24, "cosine";
    /// The logarithm of softmax over each row of `x`; `f32` only.
    LogSoftmax = 25, "log_softmax";
    /// A part of `x`.
    Slice = 26, "slice";
    /// Decision trees; operands: `x`, nodes `N[.., 4]`, roots `T[trees]`, leaves `L[.., m]`.
    Forest = 27, "forest";
    /// A row of a table for each element; operands: `x`, `T[rows, n]`.
    Embedding = 28, "embedding";
    /// Linear interpolation of each row to another length; `f32` only.
    Interpolate = 29, "interpolate";
    /// Attention of one token over a ring of those before it; operands: `q[c]`, `k[c]`, `v[c]`, the state
    /// `s[2 tokens c + 1]` (keys, values, position); gives the result and the next state; `f32` only.
    AttentionStep = 30, "attention_step";
    /// One step of the memory of a differentiable neural computer; operands: the interface vector, the
    /// state; gives what is read and the next state; `f32` only.
    Dnc = 31, "dnc";
    /// Normalisation by statistics of all samples so far; operands: `x[c]`, the state `s[2 c + 1]`
    /// (mean and variance, or least and greatest, and how many); gives the result and the next state;
    /// `f32` only.
    Normalise = 32, "normalise";
}
