// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXIT: &str = "\
Exit status:
  0  done
  1  refused or failed; one line on standard error says what and why
  2  the command line is wrong
  3  the device cannot be opened: module not loaded, or not root

Examples:
  neuralctl convert digits.onnx -o digits.nnm --samples digits.npy
  neuralctl load digits.nnm
  neuralctl predict digits --input digits.npy --labels labels.npy --summary
  neuralctl stats digits";

/// Convert models, load them into the kernel, predict and read statistics.
#[derive(Debug, Parser)]
#[command(name = "neuralctl", version, after_help = EXIT, propagate_version = true)]
pub struct Cli {
    /// The device of the module
    #[arg(
        long,
        global = true,
        env = "NEURAL_DEVICE",
        default_value = "/dev/neural",
        value_name = "PATH"
    )]
    pub device: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Convert an ONNX or a TFLite file to a .nnm model file
    #[command(after_help = "\
The type of the elements is q16 for an ONNX file that is a chain of dense layers, i8 for one with
QuantizeLinear and DequantizeLinear, f32 for all others; --type says otherwise.

Taken from ONNX for q16: chains of Gemm or MatMul and Add with Relu, LeakyRelu, Sigmoid, Tanh or Softmax,
and Flatten, Reshape, Identity, Dropout and Cast between them.

Taken from ONNX for f32 and i8: also convolutions, pools, means, BatchNormalization, sums, differences and
products, Concat, Pad, Split, Slice, Reshape, Squeeze, Unsqueeze, Transpose, Softmax and activations; for f32
only LogSoftmax, LayerNormalization, RMSNormalization, attention spelt as MatMul, Softmax, MatMul, LSTM and
GRU. The batch is 1. A network takes and gives numbers in the order of the graph.

Networks of floats become networks of 8-bit codes with --type i8 and --samples: the ranges of all values
are taken from the samples as --range says, weights get a scale for each output, and what is lost is
reported layer by layer. With --type i16 they become 16-bit codes, for small networks of dense layers.

Taken from TFLite, int8 or float32: fully connected and convolutional layers, pools, add, sub, mul,
mean, concatenation, pad, reshape, transpose, softmax and activations. A network of int8 computes the
same codes as TensorFlow Lite Micro; QUANTIZE at its input and DEQUANTIZE at its output are left to
those who predict.

What cannot be converted is refused with the name of the node and the reason.

Examples:
  neuralctl convert digits.onnx -o digits.nnm
  neuralctl convert digits.onnx -o out.nnm --name digits --samples digits.csv
  neuralctl convert detector.onnx --type f32
  neuralctl convert detector.onnx --type i8 --samples calibration.npy
  neuralctl convert detector.onnx --type i8 --samples calibration.npy --range percentile --percentile 99.9
  neuralctl convert keywords.tflite")]
    Convert(Convert),
    /// Show what is in a model file, a TFLite file or a loaded network
    #[command(after_help = "\
What contains a '/' or ends in '.nnm' or '.tflite' is a file, all else the name of a loaded network.

Examples:
  neuralctl info digits.nnm
  neuralctl info keywords.tflite
  neuralctl info digits --json")]
    Info(Info),
    /// Make a model file with random weights (Xavier)
    #[command(after_help = "\
Examples:
  neuralctl new 64-128-10 -o random.nnm
  neuralctl new 5-15-5-4 --activation leaky_relu:0.01 --output-activation softmax --seed 7 -o x.nnm")]
    New(New),
    /// Load a model as a new network
    #[command(after_help = "\
What contains a '/' or ends in '.nnm' or '.tflite' is a file that is read and handed to the kernel. All else is a
name: the kernel takes neural/NAME.nnm from the firmware path (/lib/firmware).

Examples:
  neuralctl load ./digits.nnm
  neuralctl load ./digits.nnm --name second
  neuralctl load digits")]
    Load(Load),
    /// Replace the model of a loaded network while it is in use
    #[command(after_help = "\
The network is the one with the name in the file, or the one given by --name. Input and output must
keep their sizes. Predictions that run meanwhile use the old model or the new one as a whole.

Examples:
  neuralctl replace ./digits-v2.nnm --name digits
  neuralctl replace digits")]
    Replace(Load),
    /// Unload networks
    #[command(
        after_help = "Examples:\n  neuralctl unload digits\n  neuralctl unload digits second"
    )]
    Unload(Unload),
    /// List the loaded networks
    #[command(after_help = "Examples:\n  neuralctl list\n  neuralctl list --json")]
    List(Json),
    /// Predict samples from CSV or .npy
    #[command(after_help = "\
What contains a '/' or ends in '.nnm' is a file that this program computes by itself, without the
device; all else is the name of a loaded network. A file of floats is computed in double precision, so
that last digits may differ from those of the kernel.

Samples are rows of numbers in CSV (a first row of titles is skipped) or a .npy array; the content
tells which. They are rounded to Q16.16; a number outside -32768..32767.99998 is refused with its
row and column. For a network of codes they become the nearest codes, and predictions numbers again;
with --raw both are codes. Predictions go to standard output, the summary to standard error.

Examples:
  neuralctl predict digits --input digits.csv
  neuralctl predict digits --input digits.npy --labels labels.npy --summary
  neuralctl predict digits --input digits.npy --reference ort.npy --summary
  neuralctl predict ./keywords.nnm --input codes.npy --raw
  printf '0.1,0.2\\n' | neuralctl predict tiny --argmax")]
    Predict(Predict),
    /// Show the statistics of a network, or of all
    #[command(after_help = "Examples:\n  neuralctl stats\n  neuralctl stats digits --json")]
    Stats(Stats),
    /// Watch all networks at work
    #[command(after_help = "\
Quits on q, Escape or Ctrl-C.

Examples:
  neuralctl top
  neuralctl top --interval 0.5
  neuralctl top --once
  neuralctl top --ops
  neuralctl top --ops digits")]
    Top(Top),
    /// Show or change the settings of a network
    #[command(after_help = "\
The keys and values are those of the file 'config' in debugfs.

Examples:
  neuralctl config digits
  neuralctl config digits cache_timeout
  neuralctl config digits cache_timeout 1000
  neuralctl config digits reset stats")]
    Config(Config),
    /// Measure predictions per second and latency through the device
    #[command(after_help = "\
Every call pays for the system call and for copying input and output, so a network is faster when
it is called in the kernel. Inputs are random and all different, so that the prediction cache does
not answer; with --same they are all the same one.

Examples:
  neuralctl bench digits
  neuralctl bench digits --seconds 5 --threads 2 --batch 256
  neuralctl bench digits --same --json")]
    Bench(Bench),
    /// Show what the module is and can do
    #[command(after_help = "Examples:\n  neuralctl query\n  neuralctl query --json")]
    Query(Json),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  neuralctl completions bash > /usr/share/bash-completion/completions/neuralctl
  neuralctl completions zsh > /usr/local/share/zsh/site-functions/_neuralctl")]
    Completions(Completions),
    /// Print the man page, or write one for each command
    #[command(
        after_help = "Examples:\n  neuralctl man | man -l -\n  neuralctl man -o /usr/local/share/man/man1"
    )]
    Man(Man),
}

/// The type of the elements of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Element {
    /// Q16.16 in 32 bits, dense layers only
    Q16,
    /// Single precision
    F32,
    /// 8-bit codes
    I8,
    /// 16-bit codes, dense layers, sums and products only
    I16,
}

/// How ranges are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Range {
    /// All numbers that occur
    Minmax,
    /// All but a share of them at both ends
    Percentile,
    /// The range of the least squared error
    Mse,
}

/// `convert`
#[derive(Args, Debug)]
pub struct Convert {
    /// The ONNX or TFLite file
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// The model file to write, '-' is standard output; without it, FILE with the ending .nnm
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Name of the network; without it, the name of the output file
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Which output to compute, when the graph has several
    #[arg(long, value_name = "NAME")]
    pub output_name: Option<String>,
    /// The type of the elements; without it, the one that the file suggests
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub element: Option<Element>,
    /// Samples to measure the error on, and to find the ranges of i8 and i16, in CSV or .npy
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// How the ranges of i8 and i16 are found
    #[arg(long, value_enum, default_value = "minmax", value_name = "METHOD")]
    pub range: Range,
    /// What share of the numbers a range has, in percent; with --range percentile
    #[arg(long, default_value_t = 99.99, value_name = "PERCENT", value_parser = percent)]
    pub percentile: f64,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `info`
#[derive(Args, Debug)]
pub struct Info {
    /// A model file, a TFLite file, or the name of a loaded network
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `new`
#[derive(Args, Debug)]
pub struct New {
    /// Sizes of input, layers and output, e.g. 64-128-10
    pub dims: String,
    /// Activation of the layers before the last: linear, relu, leaky_relu[:SLOPE], sigmoid, tanh, softmax
    #[arg(long, default_value = "relu", value_name = "ACT")]
    pub activation: String,
    /// Activation of the last layer
    #[arg(long, default_value = "linear", value_name = "ACT")]
    pub output_activation: String,
    /// Seed of the weights
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Name of the network; without it, the name of the output file
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The model file to write; '-' is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `load` and `replace`
#[derive(Args, Debug)]
pub struct Load {
    /// A model file, or a name in the firmware path
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Name of the network; without it, the name that stands in the file
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// `unload`
#[derive(Args, Debug)]
pub struct Unload {
    /// Names of networks
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// Commands with no other option than this.
#[derive(Args, Debug)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How predictions are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One row a sample
    Csv,
    /// One document, with the summary
    Json,
}

/// `predict`
#[derive(Args, Debug)]
pub struct Predict {
    /// Name of the network, or a model file
    #[arg(value_name = "NET|FILE")]
    pub net: String,
    /// Samples in CSV or .npy; '-' is standard input
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    pub input: PathBuf,
    /// How to print the predictions
    #[arg(long, value_enum, default_value = "csv", value_name = "FORMAT")]
    pub output: Format,
    /// The right classes, one a sample; shows the accuracy
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Outputs of another runtime; shows the largest difference and how often the class is the same
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Samples per call; 1 predicts one by one
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch: u32,
    /// Print the index of the largest output instead of the outputs
    #[arg(long)]
    pub argmax: bool,
    /// Take and give 8-bit codes, not the numbers that they stand for
    #[arg(long)]
    pub raw: bool,
    /// Print only the summary, on standard output
    #[arg(long)]
    pub summary: bool,
}

/// `stats`
#[derive(Args, Debug)]
pub struct Stats {
    /// Name of the network; without it, the total of all
    #[arg(value_name = "NET")]
    pub net: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `top`
#[derive(Args, Debug)]
pub struct Top {
    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    pub interval: f64,
    /// Print one table and end
    #[arg(long)]
    pub once: bool,
    /// Show which operations take the time, of what is profiled; reads debugfs
    #[arg(long)]
    pub ops: bool,
    /// Only those of this network
    #[arg(value_name = "NET", requires = "ops")]
    pub net: Option<String>,
    /// Where the module's directory in debugfs is
    #[arg(
        long,
        value_name = "DIR",
        env = "NEURAL_DEBUGFS",
        default_value = "/sys/kernel/debug/neural_network",
        hide = true
    )]
    pub debugfs: PathBuf,
}

/// `config`
#[derive(Args, Debug)]
pub struct Config {
    /// Name of the network
    #[arg(value_name = "NET")]
    pub net: String,
    /// A key; without it, all settings are shown
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// Its new value; without it, the present one is shown
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub value: Vec<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "value")]
    pub json: bool,
}

/// `bench`
#[derive(Args, Debug)]
pub struct Bench {
    /// Name of the network
    #[arg(value_name = "NET")]
    pub net: String,
    /// How long to measure
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Samples per call; 1 predicts one by one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch: u32,
    /// Callers at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Ask for the same input always, so that the prediction cache answers
    #[arg(long)]
    pub same: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `completions`
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `man`
#[derive(Args, Debug)]
pub struct Man {
    /// Directory for neuralctl.1 and neuralctl-COMMAND.1
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if (50.0..=100.0).contains(&v) => Ok(v),
        _ => Err("not a number from 50 to 100".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if (0.05..=86400.0).contains(&v) => Ok(v),
        _ => Err("not a number from 0.05 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Examples:\n  neuralctl ") || help.contains("| neuralctl "),
                "{}",
                sub.get_name()
            );
            assert!(help.contains(sub.get_name()), "{}", sub.get_name());
        }
        assert!(command
            .get_after_help()
            .unwrap()
            .to_string()
            .contains("Exit status:"));
    }

    #[test]
    fn numbers_are_checked_at_their_bounds() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["neuralctl"], args].concat()).is_ok();
        assert!(parse(&["predict", "n", "--batch", "1048576"]));
        assert!(!parse(&["predict", "n", "--batch", "1048577"]));
        assert!(!parse(&["predict", "n", "--batch", "0"]));
        assert!(parse(&["bench", "n", "--seconds", "0.05"]));
        assert!(!parse(&["bench", "n", "--seconds", "0"]));
        assert!(!parse(&["bench", "n", "--seconds", "nan"]));
        assert!(parse(&["convert", "x.onnx", "--percentile", "50"]));
        assert!(!parse(&["convert", "x.onnx", "--percentile", "100.1"]));
        assert!(!parse(&["convert", "x.onnx", "--percentile", "nan"]));
        assert!(parse(&[
            "convert", "x.onnx", "--type", "i8", "--range", "mse"
        ]));
        assert!(!parse(&["convert", "x.onnx", "--type", "i4"]));
        assert!(parse(&["config", "n", "key", "-1"]));
        assert!(!parse(&["unload"]));
    }
}
