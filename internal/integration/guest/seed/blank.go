package seed

import (
	"bytes"
	"fmt"
	"io"
)

// edge is how much of a disk's beginning and end IsBlank reads, in bytes.
const edge = 1 << 20

// IsBlank reports whether the first and the last MiB of a disk of size bytes are zero. Every file system, partition table, RAID member,
// volume group and encrypted disk keeps a signature there, so a blank disk holds nothing that formatting could destroy.
func IsBlank(disk io.ReaderAt, size int64) (bool, error) {
	part := make([]byte, min(size, edge))
	for _, offset := range []int64{0, size - int64(len(part))} {
		if n, err := disk.ReadAt(part, offset); n < len(part) {
			return false, fmt.Errorf("reading %d bytes at %d: %w", len(part), offset, err)
		}
		if len(bytes.Trim(part, "\x00")) > 0 {
			return false, nil
		}
	}
	return true, nil
}
