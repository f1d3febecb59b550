# Daily work. `just` without a recipe lists these.

_list:
    @just --list --unsorted

# Build the binary, unoptimised
build:
    cargo build

# Install what the tests need, and run them all
test:
    tests/run

# Deny every warning, of the library alone too
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo clippy --lib --no-default-features -- -D warnings
    cargo clippy --bins --no-default-features --features cli -- -D warnings

# Put the sources into shape
fmt:
    cargo fmt

# Look for inputs that break what must hold, so many seconds a target; takes a nightly compiler and cargo-fuzz
fuzz seconds="60":
    for target in path credential event; do \
        cargo +nightly fuzz run "$target" -- -max_total_time={{ seconds }} -max_len=256 || exit 1; \
    done

# Build the library's documentation, and deny every warning
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Measure, each against its own floor
bench:
    cargo bench

# Load `pdkeys serve` for five minutes, and see that nothing grows
soak:
    cargo build --release
    benches/soak

# Make the Debian package
deb:
    cargo deb

# Draw docs/terminal.svg from a real run
picture: build
    contrib/picture/draw

# Write the checked-in manual pages anew
generate: build
    #!/usr/bin/env sh
    set -eu
    pdkeys="${CARGO_TARGET_DIR:-target}/debug/pdkeys"
    rm -rf man
    "$pdkeys" man man
