package fake

// BreakFile makes every later write to the driver's file fail, as a full disk does.
func BreakFile(d *Driver) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.journal.file.Close()
}
