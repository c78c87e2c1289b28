package sqlledger

// SQLiteChecksums returns the checksums of the migrations.
func SQLiteChecksums() (sums []string) {
	for _, m := range SQLite().migrations {
		sums = append(sums, m.checksum())
	}
	return sums
}

// ClassifySQLite returns the class of an error by its name.
func ClassifySQLite(err error) string {
	return map[class]string{doubtful: "doubtful", refused: "refused", again: "again"}[classifySQLite(err)]
}

// Text returns a statement in the terms of a dialect with that placeholder and clock.
func Text(placeholder func(int) string, now, statement string) string {
	return Dialect{placeholder: placeholder, now: now}.sql(statement)
}
