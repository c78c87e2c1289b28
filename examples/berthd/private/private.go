// Package private reads and writes files that only their owner may read: the daemon's token and its keys. It knows nothing of what is in
// them, and no error shows any of it.
package private

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// MostBytes is how many bytes a file has at most.
const MostBytes = 64 << 10

// Read returns what a file holds. One that others can read is made private first. The error is fs.ErrNotExist when there is none.
func Read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("%s can be read by others: %w", name, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, MostBytes+1))
	if err == nil && len(b) > MostBytes {
		err = fmt.Errorf("%s has more than %d bytes", name, MostBytes)
	}
	return b, err
}

// ReadOrMake returns what a file holds, and first makes it, of what content returns, when there is none. Of two programs that begin at the same
// time one makes it, and both read the same.
func ReadOrMake(name string, content func() ([]byte, error)) ([]byte, error) {
	b, err := Read(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	made, err := content()
	if err != nil {
		return nil, err
	}
	err = aside(name, made, func(from string) error {
		err := os.Link(from, name)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return nil
		}
		return os.Rename(from, name) // a file system without links
	})
	if err != nil {
		return nil, err
	}
	return Read(name)
}

// Write makes a file, or replaces it.
func Write(name string, b []byte) error {
	return aside(name, b, func(from string) error { return os.Rename(from, name) })
}

// aside writes a file beside the one that is meant and puts it in its place, so that it is never there by half.
func aside(name string, b []byte, place func(from string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // which has another name by then
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return place(f.Name())
}
