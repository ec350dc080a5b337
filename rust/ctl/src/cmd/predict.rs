// SPDX-License-Identifier: GPL-2.0

//! `predict`: samples in, predictions and how good they are out.

use std::io::{self, Write};
use std::path::Path;

use neural_core::nnm::Limits;
use serde_json::{json, Map, Value};

use crate::cli::{self, Format};
use crate::convert::Difference;
use crate::dev::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::out;
use crate::port::{Elements, Port};
use crate::reference::Reference;
use crate::table::{argmax, Table};

/// What the predictions are compared with, and the outcome.
#[derive(Default)]
struct Summary {
    samples: u64,
    right: Option<u64>,
    reference: Option<(u64, Difference)>,
}

/// Predicts so many samples.
type Call<'n> = dyn FnMut(u32, &[u8], &mut [u8]) -> Result<()> + 'n;

/// What predicts.
struct Net<'n> {
    input: Port,
    output: Port,
    /// Samples for each call.
    chunk: usize,
    call: &'n mut Call<'n>,
}

/// `predict` of a loaded network
pub(super) fn run(
    dev: &dyn Device,
    args: &cli::Predict,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let info = dev.info(&args.net)?;
    let port = |dim, scale, zero| Port::loaded(info.dtype, dim, scale, zero);
    let input = port(info.input_dim, info.input_scale, info.input_zero_point);
    let output = port(info.output_dim, info.output_scale, info.output_zero_point);
    let net = Net {
        input: input.map_err(|e| e.within(&args.net))?,
        output: output.map_err(|e| e.within(&args.net))?,
        chunk: args.batch as usize,
        call: &mut |count, x, y| dev.predict(info.id, args.batch > 1, count, x, y),
    };
    predict(net, args, out, err)
}

/// `predict` of a model file, without the device
pub(super) fn file(args: &cli::Predict, out: &mut dyn Write, err: &mut dyn Write) -> Result<()> {
    let file = super::read(Path::new(&args.net), Limits::default().max_bytes)?;
    let mut engine = Engine::new(&file).map_err(|e| e.within(&args.net))?;
    let (input, output) = (engine.input().clone(), engine.output().clone());
    if input.elements != Elements::F32 {
        let net = Net {
            input,
            output,
            chunk: 1,
            call: &mut |_, x, y| engine.run(x, y),
        };
        return predict(net, args, out, err);
    }
    let reference = Reference::new(&file).map_err(|e| e.within(&args.net))?;
    let net = Net {
        input: input.clone(),
        output,
        chunk: 1,
        call: &mut |_, x, y| {
            let numbers = reference.run(&input.decode(x, false), &mut |_, _| ())?;
            for (to, number) in y.chunks_exact_mut(4).zip(numbers) {
                // CAST: the nearest.
                to.copy_from_slice(&(number as f32).to_le_bytes());
            }
            Ok(())
        },
    };
    predict(net, args, out, err)
}

fn predict(
    net: Net<'_>,
    args: &cli::Predict,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let (from, to) = (net.input.count(), net.output.count());
    if from == 0 || to == 0 {
        return Err(Error::refused(&args.net, "has no inputs or no outputs"));
    }
    if args.raw && !matches!(net.input.elements, Elements::I8 { .. }) {
        return Err(Error::refused("--raw", "is for networks of 8-bit codes"));
    }
    let samples = Table::read(&args.input)?.with_cols(from, "the input of the network")?;
    let labels = match &args.labels {
        Some(path) => Some(Table::read(path)?.labels(samples.rows)?),
        None => None,
    };
    let reference = match &args.reference {
        Some(path) => Some(same_rows(
            Table::read(path)?.with_cols(to, "the output of the network")?,
            samples.rows,
        )?),
        None => None,
    };
    let input = net.input.encode(&samples, args.raw)?;
    let mut output = vec![0; samples.rows.saturating_mul(net.output.bytes())];
    let mut bar = out::progress(samples.rows as u64, "predicting");
    for (x, y) in input
        .chunks(net.chunk * net.input.bytes())
        .zip(output.chunks_mut(net.chunk * net.output.bytes()))
    {
        let count = x.len() / net.input.bytes();
        let count = u32::try_from(count).map_err(|e| Error::refused("predict", e))?;
        (net.call)(count, x, y).map_err(|e| e.within(&args.net))?;
        bar.add(u64::from(count));
    }
    drop(bar);
    let output = net.output.decode(&output, args.raw);
    let summary = Summary::new(&output, to, labels.as_deref(), reference.as_ref());
    match (args.summary, args.output) {
        (true, Format::Csv) => summary.write(out).map_err(out::failed),
        (true, Format::Json) => out::json(out, &Value::Object(summary.json(&args.net))),
        (false, Format::Json) => {
            let mut document = summary.json(&args.net);
            let rows = output.chunks(to);
            let (key, rows): (_, Vec<Value>) = if args.argmax {
                ("classes", rows.map(|r| json!(argmax(r))).collect())
            } else {
                (
                    "outputs",
                    rows.map(|r| r.iter().map(|v| json!(v)).collect()).collect(),
                )
            };
            document.insert(key.to_owned(), Value::Array(rows));
            out::json(out, &Value::Object(document))
        }
        (false, Format::Csv) => {
            csv(&output, to, args.argmax, out).map_err(out::failed)?;
            if labels.is_some() || reference.is_some() {
                // Nobody may be reading it; the predictions are out.
                let _ = summary.write(err);
            }
            Ok(())
        }
    }
}

fn same_rows(table: Table, rows: usize) -> Result<Table> {
    if table.rows == rows {
        return Ok(table);
    }
    let why = format!("has {} rows, there are {rows} samples", table.rows);
    Err(Error::refused(table.source, why))
}

fn csv(output: &[f64], to: usize, only_class: bool, out: &mut dyn Write) -> io::Result<()> {
    for row in output.chunks(to) {
        if only_class {
            writeln!(out, "{}", argmax(row))?;
        } else {
            let cells: Vec<String> = row.iter().map(f64::to_string).collect();
            writeln!(out, "{}", cells.join(","))?;
        }
    }
    Ok(())
}

impl Summary {
    fn new(output: &[f64], to: usize, labels: Option<&[usize]>, reference: Option<&Table>) -> Self {
        let rows = output.chunks(to);
        let samples = rows.len() as u64;
        let count = |n: usize| n as u64;
        let right = labels.map(|labels| {
            count(
                rows.clone()
                    .zip(labels)
                    .filter(|(r, l)| argmax(r) == **l)
                    .count(),
            )
        });
        let reference = reference.map(|reference| {
            let mut difference = Difference::default();
            let mut same = 0;
            for (have, want) in rows.zip(reference.iter()) {
                same += u64::from(argmax(have) == argmax(want));
                for (a, b) in have.iter().zip(want) {
                    difference.add(*a, *b);
                }
            }
            (same, difference)
        });
        Self {
            samples,
            right,
            reference,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let n = self.samples;
        writeln!(out, "samples: {n}")?;
        if let Some(right) = self.right {
            writeln!(
                out,
                "accuracy: {:.2} % ({right} of {n})",
                out::percent(right, n)
            )?;
        }
        if let Some((same, d)) = &self.reference {
            writeln!(
                out,
                "same class as reference: {:.2} % ({same} of {n})",
                out::percent(*same, n)
            )?;
            writeln!(
                out,
                "difference to reference: max {:.3e}, mean {:.3e}",
                d.max,
                d.mean()
            )?;
        }
        Ok(())
    }

    fn json(&self, net: &str) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("network".to_owned(), json!(net));
        map.insert("samples".to_owned(), json!(self.samples));
        if let Some(right) = self.right {
            map.insert("right".to_owned(), json!(right));
            map.insert(
                "accuracy_percent".to_owned(),
                json!(out::percent(right, self.samples)),
            );
        }
        if let Some((same, d)) = &self.reference {
            map.insert("reference_same_class".to_owned(), json!(same));
            map.insert("reference_max_abs".to_owned(), json!(d.max));
            map.insert("reference_mean_abs".to_owned(), json!(d.mean()));
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use crate::table::{from_q16, to_q16};
    use std::path::PathBuf;

    struct Case {
        fake: Fake,
        dir: PathBuf,
    }

    impl Case {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir()
                .join(format!("neuralctl-predict-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self {
                fake: Fake::with("tiny"),
                dir,
            }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn args(&self, samples: &str) -> cli::Predict {
            cli::Predict {
                net: "tiny".to_owned(),
                input: self.file("x.csv", samples),
                output: Format::Csv,
                labels: None,
                reference: None,
                batch: 2,
                argmax: false,
                raw: false,
                summary: false,
            }
        }

        fn run(&self, args: &cli::Predict) -> Result<(String, String)> {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            run(&self.fake, args, &mut out, &mut err)?;
            Ok((
                String::from_utf8(out).unwrap(),
                String::from_utf8(err).unwrap(),
            ))
        }

        fn answers(&self) -> Vec<Vec<f64>> {
            ROWS.iter()
                .map(|row| {
                    let q: Vec<i32> = row.iter().map(|v| to_q16(*v).unwrap()).collect();
                    self.fake.answer(&q).into_iter().map(from_q16).collect()
                })
                .collect()
        }
    }

    impl Drop for Case {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    const ROWS: [[f64; 4]; 3] = [
        [1.0, 0.5, -1.0, 2.0],
        [0.0, 0.0, 1.0, 0.0],
        [-3.0, 2.5, 0.25, 1.0],
    ];
    const CSV: &str = "1,0.5,-1,2\n0,0,1,0\n-3,2.5,0.25,1\n";

    fn rows(text: &str) -> Vec<Vec<f64>> {
        text.lines()
            .map(|l| l.split(',').map(|v| v.parse().unwrap()).collect())
            .collect()
    }

    #[test]
    fn batches_and_single_calls_give_the_engines_answers() {
        let case = Case::new("batch");
        for batch in [1, 2, 3, 1024] {
            let mut args = case.args(CSV);
            args.batch = batch;
            let (out, err) = case.run(&args).unwrap();
            assert_eq!(rows(&out), case.answers(), "batch {batch}");
            assert_eq!(err, "");
        }
    }

    #[test]
    fn networks_of_codes_take_numbers_or_codes() {
        let case = Case::new("codes");
        let vectors = "../../tests/vectors/tflite/softmax_1.tflite";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(vectors);
        let bytes = std::fs::read(path).unwrap();
        let graph = crate::tflite::read(&bytes).unwrap();
        let file = crate::tflite::convert(&graph, graph.outputs[0], "codes").unwrap();
        case.fake
            .load(crate::dev::Source::Bytes(&file), "")
            .unwrap();
        let mut engine = Engine::new(&file).unwrap();
        let codes: Vec<u8> = (0..2 * engine.inputs()).map(|i| (i * 37) as u8).collect();
        let mut want = vec![0; 2 * engine.outputs()];
        let (from, to) = (engine.inputs(), engine.outputs());
        for (x, y) in codes.chunks(from).zip(want.chunks_mut(to)) {
            engine.run(x, y).unwrap();
        }
        let text = |values: Vec<f64>| -> String {
            let rows = values.chunks(from).map(|row| {
                let cells: Vec<String> = row.iter().map(f64::to_string).collect();
                cells.join(",") + "\n"
            });
            rows.collect()
        };
        for raw in [true, false] {
            let mut args = case.args(&text(engine.input().decode(&codes, raw)));
            args.net = "codes".to_owned();
            args.raw = raw;
            let (out, _) = case.run(&args).unwrap();
            let have: Vec<f64> = rows(&out).into_iter().flatten().collect();
            assert_eq!(have, engine.output().decode(&want, raw), "raw: {raw}");
        }
    }

    #[test]
    fn accuracy_and_agreement_are_counted() {
        let case = Case::new("accuracy");
        let answers = case.answers();
        let class: Vec<usize> = answers.iter().map(|a| argmax(a)).collect();
        let labels = format!("{}\n{}\n{}\n", class[0], class[1], (class[2] + 1) % 3);
        let reference: String = answers
            .iter()
            .flat_map(|a| [(a[0], ","), (a[1], ","), (a[2], "\n")])
            .flat_map(|(value, end)| [(value + 0.25).to_string(), end.to_string()])
            .collect();
        let mut args = case.args(CSV);
        args.labels = Some(case.file("y.csv", &labels));
        args.reference = Some(case.file("ref.csv", &reference));
        let (_, err) = case.run(&args).unwrap();
        assert!(err.contains("accuracy: 66.67 % (2 of 3)\n"), "{err}");
        assert!(
            err.contains("same class as reference: 100.00 % (3 of 3)\n"),
            "{err}"
        );
        assert!(err.contains("max 2.500e-1, mean 2.500e-1"), "{err}");
        args.summary = true;
        let (out, nothing) = case.run(&args).unwrap();
        assert_eq!((out, nothing.as_str()), (err, ""));
        args.output = Format::Json;
        args.summary = false;
        args.argmax = true;
        let json: Value = serde_json::from_str(&case.run(&args).unwrap().0).unwrap();
        assert_eq!(json["classes"], json!(class));
        assert_eq!(json["right"], 2);
        assert_eq!(json["reference_max_abs"], 0.25);
        args.output = Format::Csv;
        let (out, _) = case.run(&args).unwrap();
        assert_eq!(out, format!("{}\n{}\n{}\n", class[0], class[1], class[2]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let case = Case::new("refused");
        let e = case.run(&case.args("1,2,3\n")).unwrap_err().to_string();
        assert!(
            e.ends_with("has 3 columns, the input of the network has 4"),
            "{e}"
        );
        let e = case
            .run(&case.args("1,2,3,4\n1,2,99999,4\n"))
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("row 2 (line 2), column 3: 99999 is outside"),
            "{e}"
        );
        let mut args = case.args(CSV);
        args.labels = Some(case.file("y.csv", "1\n2\n"));
        let e = case.run(&args).unwrap_err().to_string();
        assert!(e.ends_with("2 labels for 3 samples"), "{e}");
        let mut args = case.args(CSV);
        args.reference = Some(case.file("r.csv", "1,2,3\n"));
        let e = case.run(&args).unwrap_err().to_string();
        assert!(e.ends_with("has 1 rows, there are 3 samples"), "{e}");
        let mut args = case.args(CSV);
        args.net = "none".to_owned();
        assert!(case
            .run(&args)
            .unwrap_err()
            .to_string()
            .ends_with("(ENOENT)"));
    }
}
