package cloudinit

import (
	"bytes"
	"fmt"

	"github.com/kdomanski/iso9660"
)

// Label is the volume label by which cloud-init finds a NoCloud seed.
const Label = "cidata"

// ISO returns an ISO 9660 image with the files and the volume label Label, about 45 KiB. While it is made the
// files lie in a directory for temporary files that no other user can enter.
func ISO(files []File) (image []byte, err error) {
	w, err := iso9660.NewWriter()
	if err != nil {
		return nil, fmt.Errorf("make seed image: %w", err)
	}
	defer func() {
		if e := w.Cleanup(); e != nil && err == nil {
			image, err = nil, fmt.Errorf("make seed image: %w", e)
		}
	}()
	for _, f := range files {
		if err := w.AddFile(bytes.NewReader(f.Data), f.Name); err != nil {
			return nil, fmt.Errorf("make seed image: %s: %w", f.Name, err)
		}
	}
	var b bytes.Buffer
	if err := w.WriteTo(&b, Label); err != nil {
		return nil, fmt.Errorf("make seed image: %w", err)
	}
	return b.Bytes(), nil
}
