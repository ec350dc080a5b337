// SPDX-License-Identifier: GPL-2.0

//! Compiles `include/uapi/linux/neural.h` and compares it with the structures of this program.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use neuralctl::uapi::{self, ioc};

/// Expressions in C, and what they must be.
#[derive(Default)]
struct Wanted(BTreeMap<String, u64>);

impl Wanted {
    fn add(&mut self, expression: String, value: u64) {
        assert!(self.0.insert(expression, value).is_none());
    }
}

macro_rules! layout {
    ($wanted:ident, $t:ty, $c:literal, $($field:ident)*) => {
        $wanted.add(format!("sizeof(struct {})", $c), size_of::<$t>() as u64);
        $($wanted.add(
            format!("offsetof(struct {}, {})", $c, stringify!($field)),
            offset_of!($t, $field) as u64,
        );)*
        // Every field is in the list, so the sizes of all of them fill the structure: no padding.
        let all = <$t>::default();
        let fields = [$(size_of_val(&all.$field)),*];
        assert_eq!(fields.iter().sum::<usize>(), size_of::<$t>(), $c);
    };
}

fn wanted() -> Wanted {
    let mut w = Wanted::default();
    layout!(w, uapi::Msg, "neural_msg", text len reserved);
    layout!(w, uapi::Query, "neural_query",
        msg abi_version networks features max_model_bytes reserved);
    layout!(w, uapi::Load, "neural_load", msg data size name flags id reserved);
    layout!(w, uapi::Name, "neural_name", msg name id reserved);
    layout!(w, uapi::Info, "neural_info",
        name id dtype input_dim output_dim layers generation macs weight_bytes memory_bytes
        input_scale input_zero_point output_scale output_zero_point);
    layout!(w, uapi::List, "neural_list", msg infos capacity count);
    layout!(w, uapi::Predict, "neural_predict",
        msg id count input output input_bytes output_bytes flags reserved);
    layout!(w, uapi::Stats, "neural_stats",
        msg id reserved predictions batches cache_hits cache_misses cache_expired simd_ops total_ns
        p50_ns p99_ns p999_ns memory_bytes memory_peak_bytes errors histogram);
    layout!(w, uapi::Config, "neural_config", msg id len text);
    for (name, value) in [
        ("NEURAL_IOC_QUERY", ioc::QUERY),
        ("NEURAL_IOC_LOAD", ioc::LOAD),
        ("NEURAL_IOC_REPLACE", ioc::REPLACE),
        ("NEURAL_IOC_UNLOAD", ioc::UNLOAD),
        ("NEURAL_IOC_FIND", ioc::FIND),
        ("NEURAL_IOC_LIST", ioc::LIST),
        ("NEURAL_IOC_PREDICT", ioc::PREDICT),
        ("NEURAL_IOC_PREDICT_BATCH", ioc::PREDICT_BATCH),
        ("NEURAL_IOC_STATS", ioc::STATS),
        ("NEURAL_IOC_CONFIG_GET", ioc::CONFIG_GET),
        ("NEURAL_IOC_CONFIG_SET", ioc::CONFIG_SET),
    ] {
        w.add(name.to_owned(), value);
    }
    for (name, value) in [
        ("NEURAL_NAME_LEN", uapi::NAME_LEN as u64),
        ("NEURAL_MSG_LEN", uapi::MSG_LEN as u64),
        ("NEURAL_HIST_BUCKETS", uapi::HIST_BUCKETS as u64),
        ("NEURAL_BATCH_MAX", u64::from(uapi::BATCH_MAX)),
        ("NEURAL_ID_TOTAL", u64::from(uapi::ID_TOTAL)),
        ("NEURAL_LOAD_FIRMWARE", u64::from(uapi::LOAD_FIRMWARE)),
        ("NEURAL_DTYPE_Q16", u64::from(uapi::DTYPE_Q16)),
        ("NEURAL_DTYPE_I8", u64::from(uapi::DTYPE_I8)),
        ("NEURAL_DTYPE_F32", u64::from(uapi::DTYPE_F32)),
        ("NEURAL_ERR_KINDS", uapi::ERR_KINDS as u64),
    ] {
        w.add(name.to_owned(), value);
    }
    for (i, name) in uapi::ERR_NAMES.iter().enumerate() {
        w.add(format!("NEURAL_ERR_{}", name.to_uppercase()), i as u64);
    }
    for (i, name) in uapi::FEATURE_NAMES.iter().enumerate() {
        w.add(format!("NEURAL_FEATURE_{}", name.to_uppercase()), 1 << i);
    }
    w
}

#[test]
fn structures_and_numbers_are_those_of_the_header() {
    let wanted = wanted();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/uapi");
    let dir = std::env::temp_dir().join(format!("neuralctl-uapi-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut program = "#include <stddef.h>\n#include <stdio.h>\n#include \"linux/neural.h\"\n\
                       int main(void)\n{\n"
        .to_owned();
    for expression in wanted.0.keys() {
        writeln!(
            program,
            "printf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .unwrap();
    }
    program.push_str("return 0;\n}\n");
    let (source, binary) = (dir.join("uapi.c"), dir.join("uapi"));
    std::fs::write(&source, program).unwrap();
    let built = Command::new("cc")
        .args(["-Wall", "-Werror", "-iquote"])
        .arg(include)
        .arg("-o")
        .arg(&binary)
        .arg(&source)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let said = Command::new(&binary).output().unwrap().stdout;
    std::fs::remove_dir_all(&dir).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().count(), wanted.0.len());
    for ((expression, want), have) in wanted.0.iter().zip(said.lines()) {
        assert_eq!(have.parse(), Ok(*want), "{expression}");
    }
}
