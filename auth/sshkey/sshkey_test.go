package sshkey_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/berthage/berthage/auth/sshkey"
	"github.com/berthage/berthage/pool"
)

// line returns a public key as OpenSSH writes it, without a comment.
func line(t testing.TB, public any) string {
	t.Helper()
	k, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func ed(t testing.TB) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return line(t, public)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for kind, l := range map[string]string{"ssh-ed25519": ed(t), "ecdsa-sha2-nistp256": line(t, &p256.PublicKey), "ssh-rsa": line(t, &r.PublicKey)} {
		for _, form := range []string{l, l + "\n", "  " + l + " \r\n", strings.ReplaceAll(l, " ", "\t  ")} {
			k, err := sshkey.Parse(form)
			require.NoError(t, err)
			require.Equal(t, l, k.Line)
			require.Equal(t, kind, k.Type)
			require.Empty(t, k.Comment)
			public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l))
			require.NoError(t, err)
			require.Equal(t, ssh.FingerprintSHA256(public), k.Fingerprint)
			require.NoError(t, pool.ValidSSHKey(k.Line))
		}
		k, err := sshkey.Parse(l + "  ada @ laptop ")
		require.NoError(t, err)
		require.Equal(t, "ada @ laptop", k.Comment)
		require.Equal(t, l+" ada @ laptop", k.Line)
	}
}

func TestWhatIsNoKey(t *testing.T) {
	t.Parallel()
	good := ed(t)
	blob := strings.Fields(good)[1]
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // that it is weak is the point
	require.NoError(t, err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "canary")
	require.NoError(t, err)
	raw, err := base64.StdEncoding.DecodeString(blob)
	require.NoError(t, err)
	b64 := base64.StdEncoding.EncodeToString
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, signer))
	for name, s := range map[string]string{
		"nothing":           "",
		"canary":            "canary",
		"type alone":        "ssh-ed25519",
		"a private key":     string(pem.EncodeToMemory(block)),
		"a putty key":       "PuTTY-User-Key-File-3: ssh-ed25519 canary",
		"options":           `command="canary" ` + good,
		"bare options":      "no-pty " + good,
		"two keys":          good + "\n" + good,
		"carriage return":   good + "\rcommand=canary",
		"a second line":     good + " x\nssh-ed25519 canary",
		"NUL":               good + "\x00canary",
		"vertical tab":      good + "\vcanary",
		"escape":            good + " \x1b[31mcanary",
		"turned text":       good + " \u202ecanary",
		"another type":      "ssh-rsa " + blob,
		"unknown type":      "ssh-canary " + blob,
		"old type":          "ssh-dss " + blob,
		"certificate":       strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert))),
		"cut":               "ssh-ed25519 " + b64(raw[:len(raw)-1]),
		"longer":            "ssh-ed25519 " + b64(append(raw[:len(raw):len(raw)], 'x')),
		"no key":            "ssh-ed25519 " + b64(raw[:15]),
		"not base64":        "ssh-ed25519 canary!",
		"url base64":        "ssh-ed25519 " + strings.ReplaceAll(base64.URLEncoding.EncodeToString(append(raw[:19:19], make([]byte, 32)...)), "A", "_"),
		"weak":              line(t, &weak.PublicKey),
		"huge":              good + strings.Repeat("canary", 1<<16),
		"cloud-config":      good + "\n#cloud-config\nruncmd: [canary]",
		"quoted":            `"` + good + `"`,
		"list of yaml":      "- " + good,
		"comment character": "# " + good,
	} {
		_, err := sshkey.Parse(s)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		require.NotContains(t, err.Error(), "canary", name)
		require.NotContains(t, err.Error(), blob, name)
	}
	require.ErrorContains(t, func() error { _, err := sshkey.Parse(string(pem.EncodeToMemory(block))); return err }(), "private")
}

func FuzzParse(f *testing.F) {
	good := ed(f)
	f.Add(good)
	f.Add(good + " comment")
	f.Add("no-pty " + good)
	f.Fuzz(func(t *testing.T, s string) {
		k, err := sshkey.Parse(s)
		if err != nil {
			require.ErrorIs(t, err, pool.ErrInvalid)
			return
		}
		require.NotContains(t, k.Line, "\n")
		again, err := sshkey.Parse(k.Line)
		require.NoError(t, err)
		require.Equal(t, k, again)
		public, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(k.Line))
		require.NoError(t, err)
		require.Empty(t, options)
		require.Empty(t, rest)
		require.Equal(t, strings.TrimSpace(k.Comment), strings.TrimSpace(comment))
		require.Equal(t, k.Fingerprint, ssh.FingerprintSHA256(public))
	})
}

func ExampleParse() {
	k, err := sshkey.Parse("ssh-ed25519  AAAAC3NzaC1lZDI1NTE5AAAAIEKX2lBTyZ1Bd2hHtVmIRZBWcLWC9zGZ3MlDGzUOGOMa ada@laptop\n")
	fmt.Println(k.Type, k.Comment, k.Fingerprint, err)
	_, err = sshkey.Parse(`command="/bin/sh" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEKX2lBTyZ1Bd2hHtVmIRZBWcLWC9zGZ3MlDGzUOGOMa`)
	fmt.Println(err != nil)
	// Output:
	// ssh-ed25519 ada@laptop SHA256:LAV6yZgwaUYyxb0kI8oINnPs3YQyZLjVVQhTZEdRgPA <nil>
	// true
}
