//! The whole pipeline against hand-made answers.
