package access

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/berthage/berthage/examples/berthd/private"
)

// tokenPrefix is what the daemon's own token begins with.
const tokenPrefix = TokenPrefix + "_"

// LoadToken reads the bearer token from a file that only its owner can read, and makes one of 256 random
// bits when there is none.
func LoadToken(name string) (string, error) {
	b, err := private.ReadOrMake(name, func() ([]byte, error) {
		b := make([]byte, 32)
		rand.Read(b) // never fails
		return []byte(tokenPrefix + base64.RawURLEncoding.EncodeToString(b) + "\n"), nil
	})
	if err != nil {
		return "", fmt.Errorf("the token file: %w", err)
	}
	return token(name, b)
}

// ReadToken reads the bearer token. The error is fs.ErrNotExist when there is none.
func ReadToken(name string) (string, error) {
	b, err := private.Read(name)
	if err != nil {
		return "", err
	}
	return token(name, b)
}

func token(name string, b []byte) (string, error) {
	token := strings.TrimSpace(string(b))
	raw, ok := strings.CutPrefix(token, tokenPrefix)
	if d, err := base64.RawURLEncoding.DecodeString(raw); !ok || err != nil || len(d) != 32 {
		return "", fmt.Errorf("%s does not hold a token: remove it, and the next start makes a new one", name)
	}
	return token, nil
}
