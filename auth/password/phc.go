package password

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// phc is a hash by argon2id, version 1.3, as the PHC string format has it: $argon2id$v=19$m=19456,t=2,p=1$salt$key, of which salt and key
// are base64 without padding.
type phc struct {
	memory  int // KiB
	time    int
	threads int
	salt    []byte
	key     []byte
}

func (p phc) String() string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", p.memory, p.time, p.threads, b.EncodeToString(p.salt), b.EncodeToString(p.key))
}

// parse returns what a string says, if it is one that String could have written and nothing in it is beyond the bounds.
func parse(s string) (p phc, ok bool) {
	f := strings.Split(s, "$")
	if len(s) > MaxHash || len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != "v=19" {
		return phc{}, false
	}
	params := strings.Split(f[3], ",")
	if len(params) != 3 {
		return phc{}, false
	}
	for n, at := range []struct {
		name string
		v    *int
		most int
	}{{"m=", &p.memory, MaxMemory}, {"t=", &p.time, MaxTime}, {"p=", &p.threads, MaxThreads}} {
		digits, named := strings.CutPrefix(params[n], at.name)
		v, err := strconv.Atoi(digits)
		if !named || err != nil || v < 1 || v > at.most || strconv.Itoa(v) != digits {
			return phc{}, false
		}
		*at.v = v
	}
	if p.memory < 8*p.threads {
		return phc{}, false
	}
	b := base64.RawStdEncoding.Strict()
	var err1, err2 error
	p.salt, err1 = b.DecodeString(f[4])
	p.key, err2 = b.DecodeString(f[5])
	if err1 != nil || err2 != nil || len(p.salt) < 8 || len(p.salt) > 64 || len(p.key) < 16 || len(p.key) > 64 {
		return phc{}, false
	}
	return p, p.String() == s // base64 skips line breaks
}
