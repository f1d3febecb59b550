//! Rules that hold for every path, every input and every history.
