package access

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// tokenPrefix is what the daemon's own token begins with.
const tokenPrefix = TokenPrefix + "_"

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
	if err := writePrivate(name, []byte(token+"\n")); err != nil {
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
