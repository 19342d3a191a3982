//! A restored session behaves like the one that it was restored of, detached, under every later input.
