package private_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/private"
)

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Mode().Perm()
}

// Whatever is made, replaced or found is its owner's only, and nothing is left beside it.
func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("NOT RUN: modes of files: there are none on Windows")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "key")
	_, err := private.Read(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	b, err := private.ReadOrMake(name, func() ([]byte, error) { return []byte("one"), nil })
	require.NoError(t, err)
	require.Equal(t, "one", string(b))
	require.Equal(t, fs.FileMode(0o600), mode(t, name))
	b, err = private.ReadOrMake(name, func() ([]byte, error) { return []byte("two"), nil })
	require.NoError(t, err)
	require.Equal(t, "one", string(b), "it is there")
	require.NoError(t, os.Chmod(name, 0o644))
	_, err = private.Read(name)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), mode(t, name), "one that others can read is made private")
	require.NoError(t, private.Write(name, []byte("three")))
	b, err = private.Read(name)
	require.NoError(t, err)
	require.Equal(t, "three", string(b))
	require.Equal(t, fs.FileMode(0o600), mode(t, name))
	require.NoError(t, private.Write(name, make([]byte, private.MostBytes+1)))
	_, err = private.Read(name)
	require.ErrorContains(t, err, "more than")
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = private.ReadOrMake(filepath.Join(dir, "none", "key"), func() ([]byte, error) { return nil, nil })
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Of several that begin at the same time one makes the file, and all have the same.
func TestOneMakesIt(t *testing.T) {
	t.Parallel()
	for range 100 {
		name := filepath.Join(t.TempDir(), "key")
		got := make([]string, 8)
		var all sync.WaitGroup
		for n := range got {
			all.Go(func() {
				b, err := private.ReadOrMake(name, func() ([]byte, error) { return []byte(strconv.Itoa(n)), nil })
				if err == nil {
					got[n] = string(b)
				}
			})
		}
		all.Wait()
		require.NotEmpty(t, got[0])
		for _, one := range got {
			require.Equal(t, got[0], one)
		}
	}
}
