//! JSON that stands in strings of a record: found, validated and looked into without building a tree.
