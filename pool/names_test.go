package pool_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// key is an authorized_keys line of that type; the key itself is made up.
func key(kind string) string {
	blob := append([]byte{0, 0, 0, byte(len(kind))}, kind...)
	return kind + " " + base64.StdEncoding.EncodeToString(append(blob, "0123456789"...))
}

func TestNames(t *testing.T) {
	t.Parallel()
	text := func(most int) func(string) error {
		return func(s string) error { return pool.ValidText(s, most) }
	}
	for name, c := range map[string]struct {
		valid func(string) error
		good  []string
		bad   []string
	}{
		"hostname": {pool.ValidHostname, []string{"a", "web-1", "1", strings.Repeat("a", 63)},
			append([]string{"-a", "a-", "A", "a.b", "a_b", strings.Repeat("a", 64)}, hostile...)},
		"name": {pool.ValidName, []string{"a", "A.b-c_9", "9", strings.Repeat("a", 63)},
			append([]string{"-a", ".a", "_a", "a/b", strings.Repeat("a", 64)}, hostile...)},
		"user": {pool.ValidUser, []string{"root", "_apt", "a-b_9", strings.Repeat("a", 32)},
			append([]string{"9a", "-a", "A", "a.b", "a$", strings.Repeat("a", 33)}, hostile...)},
		"mount point": {pool.ValidMountPoint, []string{"/data", "/srv/data-1.x_y"},
			append([]string{"/", "data", "/data/", "//data", "/a/../b", "/a/./b", "/a b", "/a\tb", "/" + strings.Repeat("a", 255)}, hostile...)},
		"text": {text(10), []string{"", "a b", "<a>&\"'", "é€😀"},
			[]string{"a\nb", "a\tb", "a\x00", "\xff", "\u2028", "\u202e", "\x1b[0m", "\u00a0", "12345678901"}},
		"host id": {func(s string) error { return pool.HostID(s).Valid() }, []string{"libvirt/h1", "d/a/b", "d/ünïcode", "d/<a>"},
			[]string{"", "/", "d/", "/h", "d", "d d/h", "d/a b", "d/a\nb", "d/\x00", "d/\xff", "d/" + strings.Repeat("a", 255)}},
		"instance id": {func(s string) error { return pool.InstanceID(s).Valid() }, []string{string(everyInstance[0])},
			append([]string{"i", string(everyInstance[0]) + "0", strings.ToUpper(string(everyInstance[0]))}, hostile...)},
		"ssh key": {pool.ValidSSHKey, []string{key("ssh-ed25519"), key("ssh-rsa") + " ada@example.org and <more>", key("sk-ssh-ed25519@openssh.com")},
			append([]string{
				"ssh-ed25519", "ssh-ed25519 ", "ssh-dss AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 %%%", "ssh-ed25519  AAAA",
				`command="rm" ` + key("ssh-rsa"), key("ssh-rsa") + "\n" + key("ssh-rsa"), key("ssh-rsa") + "\x00", key("ssh-rsa") + " \xff",
				strings.Replace(key("ssh-rsa"), "ssh-rsa", "ssh-ed25519", 1), key("ssh-rsa") + " " + strings.Repeat("a", 16<<10),
				" " + key("ssh-rsa"), "ssh-rsa AAAAB3NzaC1yc2E=", // the type and no key
			}, hostile...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range c.good {
				require.NoError(t, c.valid(s), "%q", s)
			}
			for _, s := range c.bad {
				err := c.valid(s)
				require.ErrorIs(t, err, pool.ErrInvalid, "%q", s)
				harmless(t, err)
			}
		})
	}
}

func TestSSHKeysStayOutOfMessages(t *testing.T) {
	t.Parallel()
	err := pool.ValidSSHKey("ssh-rsa c2VjcmV0 secret")
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.NotContains(t, err.Error(), "c2VjcmV0")
	require.NotContains(t, err.Error(), "secret")
}

func TestLabels(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 65 {
		many[strings.Repeat("a", 1+i%60)+string(rune('a'+i/60))] = ""
	}
	require.Len(t, many, 65)
	require.NoError(t, pool.ValidLabels(nil))
	require.NoError(t, pool.ValidLabels(map[string]string{"example.org/tier": "gold & <silver>", "a": ""}))
	require.ErrorIs(t, pool.ValidLabels(many), pool.ErrInvalid)
	for _, k := range append([]string{"/a", strings.Repeat("a", 64)}, hostile...) {
		err := pool.ValidLabels(map[string]string{k: ""})
		require.ErrorIs(t, err, pool.ErrInvalid, "%q", k)
		harmless(t, err)
	}
	for _, v := range []string{"a\nb", "\x00", "\xff", strings.Repeat("a", 256)} {
		err := pool.ValidLabels(map[string]string{"k": v})
		require.ErrorIs(t, err, pool.ErrInvalid, "%q", v)
		harmless(t, err)
	}
}

func TestInstanceAndMachineIDs(t *testing.T) {
	t.Parallel()
	id := pool.NewInstanceID("ledger", "p", "token")
	require.NoError(t, id.Valid())
	require.Equal(t, id, pool.NewInstanceID("ledger", "p", "token"), "the same token gives the same instance")
	require.Equal(t, pool.InstanceID("ix5mfhw7qtbvsftfjbm9sy97x"), id, "and in every version")
	seen := map[pool.InstanceID]bool{id: true}
	for _, s := range [][3]string{{"ledger", "p", "token2"}, {"ledger", "pt", "oken"}, {"ledge", "rp", "token"}, {"ledger", "p", ""}, {"", "", ""}, {"ledger", "", "ptoken"}} {
		other := pool.NewInstanceID(s[0], s[1], s[2])
		require.NoError(t, other.Valid())
		require.False(t, seen[other], s)
		seen[other] = true
	}
	for _, n := range []int{0, 1, 42} {
		back, m, ok := id.Machine(n).Split()
		require.True(t, ok)
		require.Equal(t, id, back)
		require.Equal(t, n, m)
	}
	for _, s := range append([]string{string(id), string(id) + "-", string(id) + "--1", string(id) + "-01", string(id) + "-+1", string(id) + "-x",
		string(id) + "-99999999999999999999", "-0", "x-0"}, hostile...) {
		_, _, ok := pool.MachineID(s).Split()
		require.False(t, ok, "%q", s)
	}
}
