// SPDX-License-Identifier: Apache-2.0
//! Criterion benchmarks of the pure parts, and of planning, which also asks the kernel.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(missing_docs)] // criterion's macros.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use common::cost_input::CostInput;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use premount::internals::{
    self, Checkpoint, Config, ConfigMount, Escaped, Parent, Plan, PlanOptions, RelPath, RelRef,
    compare, config,
};

criterion_group! {
    name = pure;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = configurations, checkpoints, paths
}
criterion_main!(pure);

fn configurations(criterion: &mut Criterion) {
    let inputs = [
        ("pod", CostInput::pod()),
        ("10,000 mounts", CostInput::nested(10_000)),
    ];
    for (name, input) in inputs {
        let bundle = input.world.path("bundle");
        let file = bundle.join(config::FILE_NAME);
        let text = fs::read_to_string(&file).unwrap();
        let parse = || Config::parse(black_box(&text), &file, &bundle).unwrap();
        criterion.bench_function(&format!("configuration, {name}: parse"), |bencher| {
            bencher.iter(parse);
        });
        criterion.bench_function(&format!("plan, {name}, all missing"), |bencher| {
            bencher.iter_batched(
                parse,
                |config| Plan::new(config, &Checkpoint::default(), PlanOptions::default()).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
}

fn checkpoints(criterion: &mut Criterion) {
    let input = CostInput::workload(10_000);
    let image = fs::read(input.images().join("mountpoints-12.img")).unwrap();
    let parse = || internals::parse(black_box(&image), Path::new("image")).unwrap();
    criterion.bench_function("images, 10,000 mounts: parse", |bencher| {
        bencher.iter(parse);
    });
    let known = [ConfigMount {
        resolved: RelRef::new(b"data"),
        destination: RelRef::new(b"data"),
        is_bind: true,
        parent: Parent::Rootfs,
    }];
    let namespaces = [parse()];
    assert_eq!(
        compare(&namespaces, &[], None, &known, &[], 10_000)
            .required
            .unwrap()
            .len(),
        10_000
    );
    criterion.bench_function("images, 10,000 mounts: required mountpoints", |bencher| {
        bencher.iter(|| compare(black_box(&namespaces), &[], None, &known, &[], 10_000));
    });
}

fn paths(criterion: &mut Criterion) {
    let path = format!("/data{}", "/component".repeat(63));
    criterion.bench_function("path, 64 components: clean", |bencher| {
        bencher.iter(|| RelPath::from_destination(black_box(&path)).unwrap());
    });
    criterion.bench_function("path, 64 components: escape", |bencher| {
        bencher.iter(|| Escaped(black_box(path.as_bytes())).to_string());
    });
}
