package sqlledger

// Checksums returns the checksums of a dialect's migrations.
func Checksums(d Dialect) (sums []string) {
	for _, m := range d.migrations {
		sums = append(sums, m.checksum())
	}
	return sums
}

// Classify returns the class of an error by its name.
func Classify(d Dialect, err error) string {
	return map[class]string{doubtful: "doubtful", refused: "refused", again: "again"}[d.classify(err)]
}

// Text returns a statement in the terms of a dialect with that placeholder and clock.
func Text(placeholder func(int) string, now, statement string) string {
	return Dialect{placeholder: placeholder, now: now}.sql(statement)
}

// Root returns the root of the tree over the leaves, as Verify computes it.
func Root(leaves [][32]byte) [32]byte {
	var t subtrees
	for i, leaf := range leaves {
		t.add(leaf, int64(i))
	}
	return t.root()
}
