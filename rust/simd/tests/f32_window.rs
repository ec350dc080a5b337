// SPDX-License-Identifier: GPL-2.0

//! Depthwise convolution and pooling, against f64.

mod f32_common;

use f32_common::{act, function, near, sets, words, Buf, Random, EPS};
use neural_core::float::{Depthwise, Function, Pool};

#[test]
fn depthwise_convolutions() {
    let mut random = Random::new(40);
    for set in sets() {
        for channels in 1..=200 {
            let (m, outer) = (random.range(1, 5), random.range(1, 3));
            let (high, wide) = (random.range(1, 3), random.range(1, 3));
            let width = m + wide - 1;
            let height = outer + high - 1;
            let x = random.units(height * width * channels);
            let padded = channels.next_multiple_of(16);
            // Channels of a layer that has more of them.
            let stride = padded + random.range(0, 1) * 16;
            let w = random.units((high * wide - 1) * stride + padded);
            let bias = random.units(padded);
            let taps: Vec<usize> = (0..high * wide)
                .map(|t| (t / wide * width + t % wide) * channels)
                .collect();
            let bytes: Vec<usize> = taps.iter().map(|t| t * 4).collect();
            let code = Function::ALL[channels % 10];
            let place = channels % 4;
            let mut y = Buf::new(&vec![0.0; outer * m * channels], place);
            assert!(set.depthwise_f32(&mut Depthwise {
                x: Buf::new(&x, place).bytes(),
                x_row: channels * 4,
                x_outer: width * channels * 4,
                y: y.bytes_mut(),
                y_row: channels * 4,
                y_outer: m * channels * 4,
                m,
                outer,
                channels,
                stride,
                offsets: &words(&bytes),
                w: Buf::new(&w, place).bytes(),
                bias: Buf::new(&bias, place).bytes(),
                act: act(code, 0.25),
            }));
            for (i, y) in y.get().into_iter().enumerate() {
                let c = i % channels;
                let (line, column) = (i / channels / m, i / channels % m);
                let mut sum = f64::from(bias[c]);
                for (t, tap) in taps.iter().enumerate() {
                    let x = x[(line * width + column) * channels + tap + c];
                    sum += f64::from(x) * f64::from(w[t * stride + c]);
                }
                let expected = function(code, 0.25, sum);
                near(y, expected, 30.0 * EPS, &(set.isa(), channels, code, i));
            }
        }
    }
}

#[test]
fn pools() {
    let mut random = Random::new(41);
    for set in sets() {
        for i in 0..400 {
            let channels = random.range(1, 40);
            let [height, width] = [random.range(1, 7), random.range(1, 7)];
            let window = [random.range(1, 4), random.range(1, 4)];
            let stride = [random.range(1, 3), random.range(1, 3)];
            let pad = [random.range(0, window[0]), random.range(0, window[1])];
            let [out_height, out_width] = [random.range(1, 6), random.range(1, 6)];
            let x = random.units(height * width * channels);
            let max = i % 2 == 0;
            let mut y = Buf::new(&vec![0.0; out_height * out_width * channels], i % 4);
            assert!(set.pool_f32(&mut Pool {
                x: Buf::new(&x, i % 4).bytes(),
                y: y.bytes_mut(),
                image: [height, width, channels],
                channels,
                first: 0,
                out: [out_height, out_width],
                window,
                stride,
                pad,
                greatest: max,
            }));
            for (o, y) in y.get().into_iter().enumerate() {
                let c = o % channels;
                let place = [o / channels / out_width, o / channels % out_width];
                let mut inside = Vec::new();
                for r in 0..window[0] {
                    for s in 0..window[1] {
                        let row = (place[0] * stride[0] + r).wrapping_sub(pad[0]);
                        let column = (place[1] * stride[1] + s).wrapping_sub(pad[1]);
                        if row < height && column < width {
                            inside.push(f64::from(x[(row * width + column) * channels + c]));
                        }
                    }
                }
                let expected = if max {
                    inside.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b))
                } else {
                    inside.iter().sum::<f64>() / inside.len().max(1) as f64
                };
                near(
                    y,
                    expected,
                    if max { 0.0 } else { 20.0 * EPS },
                    &(set.isa(), i, o),
                );
            }
        }
    }
}

#[test]
fn greatest_of_nan_is_nan() {
    for set in sets() {
        let mut y = Buf::new(&[0.0; 2], 0);
        assert!(set.pool_f32(&mut Pool {
            x: Buf::new(&[1.0, 1.0, f32::NAN, 2.0, 3.0, 3.0], 0).bytes(),
            y: y.bytes_mut(),
            image: [1, 3, 2],
            channels: 2,
            first: 0,
            out: [1, 1],
            window: [1, 3],
            stride: [1, 1],
            pad: [0, 0],
            greatest: true,
        }));
        let y = y.get();
        assert!(y[0].is_nan() && y[1] == 3.0, "{:?}: {y:?}", set.isa());
    }
}
