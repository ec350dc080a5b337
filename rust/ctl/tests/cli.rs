// SPDX-License-Identifier: GPL-2.0

//! The program as a user meets it: exit statuses, error lines, files, pipes.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn neuralctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neuralctl"));
    command
        .args(args)
        .env("NEURAL_DEVICE", "/nonexistent/neural")
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    neuralctl(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs what must fail; gives its status and its only line on standard error.
fn fails(args: &[&str]) -> (i32, String) {
    let done = run(args);
    let line = text(&done.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("neuralctl: "), "{line}");
    assert!(done.stdout.is_empty(), "{}", text(&done.stdout));
    (done.status.code().unwrap(), line)
}

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("neuralctl-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn vector(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn statuses_are_those_of_the_help() {
    let help = text(&run(&["--help"]).stdout);
    for line in [
        "0  done",
        "1  refused",
        "2  the command line",
        "3  the device",
    ] {
        assert!(help.contains(line), "{line} not in {help}");
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["fly"]).status.code(), Some(2));
    assert_eq!(run(&["list", "--fly"]).status.code(), Some(2));
    assert_eq!(fails(&["info", "/nonexistent/x.nnm"]).0, 1);
    let dir = Dir::new("statuses");
    assert_eq!(fails(&["new", "7", "-o", &dir.path("x.nnm")]).0, 2);
}

#[test]
fn every_command_has_help_with_examples() {
    let commands = [
        "convert",
        "info",
        "new",
        "load",
        "replace",
        "unload",
        "list",
        "predict",
        "stats",
        "top",
        "config",
        "bench",
        "query",
        "completions",
        "man",
    ];
    for command in commands {
        let done = run(&[command, "--help"]);
        assert_eq!(done.status.code(), Some(0), "{command}");
        let help = text(&done.stdout);
        assert!(help.contains("Examples:\n"), "{command}");
        assert!(help.contains(&format!("neuralctl {command}")), "{command}");
    }
}

#[test]
fn without_a_device_the_status_is_3() {
    for args in [
        &["list"][..],
        &["query", "--json"],
        &["load", "digits"],
        &["unload", "digits"],
        &["replace", "./x.nnm"],
        &["predict", "digits"],
        &["stats"],
        &["top", "--once"],
        &["config", "digits"],
        &["bench", "digits"],
        &["info", "digits"],
    ] {
        let (status, line) = fails(args);
        assert_eq!(status, 3, "{args:?}");
        assert!(
            line.contains("/nonexistent/neural: no such device"),
            "{line}"
        );
        assert!(line.trim_end().ends_with("(ENOENT)"), "{line}");
    }
    // The option goes before the variable.
    let (status, line) = fails(&["list", "--device", "/dev/null"]);
    assert_eq!(status, 3);
    assert!(
        line.contains("/dev/null") && line.contains("(ENOTTY)"),
        "{line}"
    );
}

#[test]
fn convert_reports_its_errors_of_quantisation() {
    let dir = Dir::new("convert");
    let (onnx, output) = (vector("digits.onnx"), dir.path("digits.nnm"));
    let samples = vector("digits_input.csv");
    let done = run(&["convert", &onnx, "-o", &output, "--samples", &samples]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    assert!(
        said.contains("'digits', 64 -> 128 relu -> 10 softmax, 9472 multiply-accumulates"),
        "{said}"
    );
    assert!(said.contains("of 360 samples"), "{said}");
    let done = run(&[
        "convert",
        &onnx,
        "-o",
        &output,
        "--samples",
        &samples,
        "--json",
        "--name",
        "d2",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["name"], "d2");
    assert_eq!(json["end_to_end"]["samples"], 360);
    assert!(json["end_to_end"]["same_class"].as_u64().unwrap() >= 359);
    assert!(json["end_to_end"]["outputs"]["max_abs"].as_f64().unwrap() < 1e-3);
    assert!(json["rounding"]["max_abs"].as_f64().unwrap() <= 0.5 / 65536.0);
    assert_eq!(dir.names(), ["digits.nnm"]);
    let info = text(&run(&["info", &output]).stdout);
    assert!(
        info.contains("name: d2\n") && info.contains("crc32c: "),
        "{info}"
    );
    let info: serde_json::Value =
        serde_json::from_slice(&run(&["info", &output, "--json"]).stdout).unwrap();
    let file = fs::read(&output).unwrap();
    let crc = u32::from_le_bytes(file[24..28].try_into().unwrap());
    assert_eq!(info["crc32c"], format!("{crc:08x}"));
    assert_eq!(info["layers"][0]["activation"], "relu");
    assert_eq!(info["layers"][1]["macs"], 1280);
}

#[test]
fn the_type_of_elements_is_that_of_the_file_or_the_one_that_is_asked_for() {
    let dir = Dir::new("types");
    let output = dir.path("x.nnm");
    let convert = |file: &str, more: &[&str]| {
        let path = vector(file);
        let args = [&["convert", &path, "-o", &output, "--json"], more].concat();
        let done = run(&args);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let said: serde_json::Value = serde_json::from_str(&text(&done.stdout)).unwrap();
        let info = text(&run(&["info", &output, "--json"]).stdout);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        (info["dtype"].as_str().unwrap().to_owned(), said)
    };
    assert_eq!(convert("digits.onnx", &[]).0, "q16");
    assert_eq!(convert("digits.onnx", &["--type", "f32"]).0, "f32");
    assert_eq!(convert("onnx_float/conv.onnx", &[]).0, "f32");
    assert_eq!(convert("onnx_codes/conv_u8.onnx", &[]).0, "i8");
    assert_eq!(
        convert("onnx_codes/conv_u8.onnx", &["--type", "f32"]).0,
        "f32"
    );
    assert_eq!(
        convert("tflite/float_0.tflite", &["--type", "f32"]).0,
        "f32"
    );
    let samples = vector("digits_samples.csv");
    for range in ["minmax", "percentile", "mse"] {
        let args = ["--type", "i8", "--samples", &samples, "--range", range];
        let (dtype, said) = convert("digits.onnx", &args);
        assert_eq!(dtype, "i8");
        assert_eq!(said["end_to_end"]["same_class"], 16, "{said}");
        assert_eq!(said["layers"].as_array().unwrap().len(), 3);
        assert!(said["layers"][0]["error"]["sqnr_db"].as_f64().unwrap() > 30.0);
    }
    let (dtype, said) = convert("digits.onnx", &["--type", "i16", "--samples", &samples]);
    assert_eq!(dtype, "i16");
    assert!(
        said["end_to_end"]["outputs"]["sqnr_db"].as_f64().unwrap() > 70.0,
        "{said}"
    );
    let args = ["--type", "i8", "--samples", &samples];
    let done = run(&[
        &["convert", &vector("digits.onnx"), "-o", &output],
        &args[..],
    ]
    .concat());
    let said = text(&done.stdout);
    assert!(said.contains("softmax node 'softmax' (Softmax)"), "{said}");
    assert!(
        said.contains("same class on 16 of 16 samples (100.00 %)"),
        "{said}"
    );
    let onnx = vector("onnx_float/conv.onnx");
    let float = vector("tflite/float_0.tflite");
    let codes = vector("tflite/relu_0.tflite");
    for (args, status, why) in [
        (
            &["convert", &onnx, "--type", "i8"][..],
            2,
            "needs --samples",
        ),
        (
            &["convert", &onnx, "--samples", &samples],
            2,
            "goes with q16, i8 and i16",
        ),
        (
            &["convert", &onnx, "--type", "q16"],
            1,
            "node 'conv0' (Conv): ",
        ),
        (&["convert", &float, "--type", "i8"], 2, "needs --samples"),
        (
            &["convert", &float, "--type", "q16"],
            2,
            "cannot be made of a graph of f32",
        ),
        (
            &["convert", &codes, "--type", "f32"],
            2,
            "cannot be made of a graph of i8",
        ),
        (
            &["convert", &codes, "--samples", &samples],
            2,
            "goes with ONNX",
        ),
    ] {
        let (have, line) = fails(&[args, &["-o", &output]].concat());
        assert_eq!(have, status, "{line}");
        assert!(line.contains(why), "{line}");
    }
}

#[test]
fn a_file_of_floats_is_computed_without_the_device() {
    let dir = Dir::new("floats");
    let output = dir.path("net.nnm");
    let case = |end: &str| vector(&format!("onnx_float/keywords{end}"));
    assert!(run(&["convert", &case(".onnx"), "-o", &output])
        .status
        .success());
    let (input, reference) = (case("_input.npy"), case("_output.npy"));
    let args = [
        "predict",
        &output,
        "--input",
        &input,
        "--reference",
        &reference,
    ];
    let done = run(&[&args[..], &["--summary", "--output", "json"]].concat());
    let said: serde_json::Value = serde_json::from_str(&text(&done.stdout)).unwrap();
    assert_eq!(said["reference_same_class"], 3, "{said}");
    assert!(said["reference_max_abs"].as_f64().unwrap() < 1e-6, "{said}");
}

#[test]
fn a_refused_conversion_leaves_the_old_file_alone() {
    let dir = Dir::new("refused");
    let output = dir.path("old.nnm");
    fs::write(&output, "old").unwrap();
    let (status, line) = fails(&["convert", &vector("onnx/refuse/erf.onnx"), "-o", &output]);
    assert_eq!(status, 1);
    assert!(line.contains("erf.onnx: node 'erf0' (Erf): "), "{line}");
    let bad = dir.path("bad.csv");
    fs::write(&bad, "1,2\n").unwrap();
    let args = [
        "convert",
        &vector("digits.onnx"),
        "-o",
        &output,
        "--samples",
        &bad,
    ];
    assert!(fails(&args).1.contains("has 2 columns, the network has 64"));
    assert_eq!(fs::read(&output).unwrap(), b"old");
    assert_eq!(dir.names(), ["bad.csv", "old.nnm"]);
}

#[test]
fn a_damaged_model_file_is_refused_by_info() {
    let dir = Dir::new("damaged");
    let file = dir.path("x.nnm");
    assert!(run(&["new", "3-4-2", "-o", &file]).status.success());
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 70;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (status, line) = fails(&["info", &file]);
    assert_eq!(status, 1);
    assert!(line.contains("checksum"), "{line}");
}

#[test]
fn a_tflite_file_is_shown_as_its_operators() {
    let chain = vector("tflite/chain_0.tflite");
    let said = text(&run(&["info", &chain]).stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("input: t0 i8[1,8,8,3], scale 5.000000e-2, zero point -4"),
        "{said}"
    );
    assert!(lines.contains(&"multiply-accumulates: 10260"), "{said}");
    let conv: Vec<&str> = lines[5].split_whitespace().collect();
    let want = "0 CONV_2D i8[1,8,8,3] i8[1,8,8,4] 3x3 stride 1x1 pad 1x1 relu 6912 124";
    assert_eq!(conv.join(" "), want);
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["info", &chain, "--json"]).stdout).unwrap();
    assert_eq!(json["operators"].as_array().unwrap().len(), 8);
    assert_eq!(json["operators"][3]["operator"], "ADD");
    assert_eq!(json["operators"][3]["inputs"].as_array().unwrap().len(), 2);
    assert_eq!(json["macs"], 10260);
    let (status, line) = fails(&["info", &vector("tflite/refuse/custom.tflite")]);
    assert_eq!(status, 1);
    assert!(
        line.contains("custom.tflite: operator 0: CUSTOM 'Fancy'"),
        "{line}"
    );
    let dir = Dir::new("tflite");
    let says = "operator 0 (LOG_SOFTMAX): kind: has no counterpart in int8";
    let softmax = vector("tflite/log_softmax_0.tflite");
    let (status, line) = fails(&["convert", &softmax, "-o", &dir.path("x.nnm")]);
    assert_eq!(status, 1);
    assert!(line.contains(says), "{line}");
    let split = vector("tflite/split_0.tflite");
    let (_, line) = fails(&["convert", &split, "-o", &dir.path("x.nnm")]);
    assert!(line.contains("choose one with --output-name"), "{line}");
    assert!(dir.names().is_empty());
}

#[test]
fn a_tflite_file_is_converted_shown_and_predicted() {
    let dir = Dir::new("codes");
    let chain = dir.path("chain.tflite");
    fs::copy(vector("tflite/chain_0.tflite"), &chain).unwrap();
    let said = text(&run(&["convert", &chain, "--name", "small"]).stdout);
    assert!(
        said.contains("chain.nnm: 'small', 7 operations, "),
        "{said}"
    );
    let made = dir.path("chain.nnm");
    let said = text(&run(&["info", &made]).stdout);
    let want = [
        "name: small",
        "input: i8[8,8,3], scale 5.000000e-2, zero point -4",
        "output: i8[1,1,5], scale 3.906250e-3, zero point -128",
    ];
    for line in want {
        assert!(said.lines().any(|l| l == line), "{line}: {said}");
    }
    let row = said.lines().find(|l| l.starts_with("3 add")).unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    let want = "3 add i8[8,8,4] i8[8,8,4] i8[8,8,4] 1.000000e-1 -90 256 24";
    assert_eq!(row.join(" "), want);
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["info", &made, "--json"]).stdout).unwrap();
    assert_eq!(json["dtype"], "i8");
    assert_eq!(json["input"]["zero_point"], -4);
    assert_eq!(json["operations"].as_array().unwrap().len(), 7);
    // The same sample as numbers and as codes gives the same probabilities.
    let codes: Vec<i32> = (0..192).map(|i| i * 7 % 256 - 128).collect();
    let numbers: Vec<f32> = codes.iter().map(|c| 0.05 * (c + 4) as f32).collect();
    let join = |all: Vec<String>| all.join(",") + "\n";
    let csv = dir.path("x.csv");
    fs::write(&csv, join(codes.iter().map(i32::to_string).collect())).unwrap();
    let raw = text(&run(&["predict", &made, "--input", &csv, "--raw"]).stdout);
    fs::write(&csv, join(numbers.iter().map(f32::to_string).collect())).unwrap();
    let given = text(&run(&["predict", &made, "--input", &csv]).stdout);
    let raw: Vec<f64> = raw.trim().split(',').map(|v| v.parse().unwrap()).collect();
    let given: Vec<f64> = given
        .trim()
        .split(',')
        .map(|v| v.parse().unwrap())
        .collect();
    let want: Vec<f64> = raw.iter().map(|code| (code + 128.0) / 256.0).collect();
    assert_eq!(given, want);
    assert!((given.iter().sum::<f64>() - 1.0).abs() < 0.02, "{given:?}");
    let tiny = dir.path("tiny.nnm");
    assert!(run(&["new", "2-2", "-o", &tiny]).status.success());
    let (_, line) = fails(&["predict", &tiny, "--input", &csv, "--raw"]);
    assert!(line.contains("is for networks of 8-bit codes"), "{line}");
}

#[test]
fn new_is_the_same_for_the_same_seed() {
    let dir = Dir::new("new");
    let (a, b, c) = (dir.path("a.nnm"), dir.path("b.nnm"), dir.path("c.nnm"));
    for (file, seed) in [(&a, "5"), (&b, "5"), (&c, "6")] {
        let args = [
            "new",
            "5-15-4",
            "-o",
            file,
            "--seed",
            seed,
            "--name",
            "n",
            "--activation",
            "leaky_relu:0.25",
        ];
        assert!(run(&args).status.success());
    }
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_ne!(fs::read(&a).unwrap(), fs::read(&c).unwrap());
    assert!(text(&run(&["info", &a]).stdout).contains("leaky_relu:0.25"));
    for dims in ["5", "5-x", "", "5--4", "0-4", "5-4097"] {
        assert!(!run(&["new", dims, "-o", &a]).status.success(), "{dims}");
    }
    for act in ["gelu", "relu:1", "leaky_relu:x", "leaky_relu:40000"] {
        assert_eq!(
            fails(&["new", "2-2", "-o", &a, "--activation", act]).0,
            2,
            "{act}"
        );
    }
}

#[test]
fn a_model_may_go_to_standard_output_and_the_report_does_not_mix_with_it() {
    let done = run(&["convert", &vector("digits.onnx"), "-o", "-", "--name", "d"]);
    assert!(done.status.success());
    assert!(done.stdout.starts_with(b"\x7fNNM"));
    assert_eq!(done.stdout.len() % 64, 0);
    assert!(text(&done.stderr).contains("'d', 64"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = neuralctl(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_a_failure_with_its_errno() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let done = neuralctl(&["man"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stderr).contains("(ENOSPC)"),
        "{}",
        text(&done.stderr)
    );
    // No device is named as an output here: a wrong program run by root would replace it.
    let dir = Dir::new("full");
    let (status, line) = fails(&["new", "2-2", "-o", &dir.path(""), "--name", "x"]);
    assert_eq!(status, 1);
    assert!(line.contains("(EISDIR)"), "{line}");
}

#[test]
fn arguments_that_are_no_text_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let odd = OsStr::from_bytes(b"/tmp/\xff\n.onnx");
    let dir = Dir::new("odd");
    let mut command = neuralctl(&["convert", "-o", &dir.path("x.nnm")]);
    let done = command.arg(odd).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(text(&done.stderr).lines().count(), 1);
    let done = neuralctl(&["info"]).arg(odd).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
}

#[test]
fn samples_may_come_through_a_pipe() {
    let dir = Dir::new("pipe");
    let mut child = neuralctl(&[
        "convert",
        &vector("onnx/ok/linear.onnx"),
        "--samples",
        "-",
        "-o",
        &dir.path("l.nnm"),
    ])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"a,b,c\n1,2,3\n-1,0,0.5\n")
        .unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(
        text(&done.stdout).contains("of 2 samples (100.00 %)"),
        "{}",
        text(&done.stdout)
    );
}
