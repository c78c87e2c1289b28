package access

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// tokenPrefix lets scanners for leaked secrets know the token when they see it.
const tokenPrefix = "berthd_"

// LoadToken reads the bearer token from a file that only its owner can read, and makes one of 256 random
// bits when there is none.
func LoadToken(name string) (string, error) {
	token, err := ReadToken(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	b := make([]byte, 32)
	rand.Read(b) // never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
	// Written aside and renamed, so that the file is never there without its token.
	f, err := os.CreateTemp(filepath.Dir(name), ".token-*") // with mode 0600
	if err != nil {
		return "", fmt.Errorf("make the token file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(token + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return "", fmt.Errorf("make the token file: %w", err)
	}
	return token, nil
}

// ReadToken reads the bearer token. A file that others can read is made private first.
func ReadToken(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(name, 0o600); err != nil {
			return "", fmt.Errorf("the token file can be read by others: %w", err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	raw, ok := strings.CutPrefix(token, tokenPrefix)
	if d, err := base64.RawURLEncoding.DecodeString(raw); !ok || err != nil || len(d) != 32 {
		return "", fmt.Errorf("%s does not hold a token: remove it, and the next start makes a new one", name)
	}
	return token, nil
}
