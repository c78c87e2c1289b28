package browser_test

import (
	"bufio"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/pool"
)

// provider starts a real provider of OpenID Connect, which sends browsers back there, and returns its issuer. To a browser its address is another
// site than a daemon's on 127.0.0.1, which one that differs in the port only would not be; systems other than Linux have no such address.
func provider(t *testing.T, redirect string) string {
	t.Helper()
	listen := "127.0.0.2:0"
	if runtime.GOOS != "linux" {
		listen = "127.0.0.1:0"
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./oidc/provide", "-listen", listen, "-redirect", redirect)
	cmd.Dir, cmd.Stderr = filepath.Join("..", "..", "..", "internal", "integration"), os.Stderr
	in, err := cmd.StdinPipe() // it ends with this
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	require.NoError(t, err, "the provider does not start")
	if why, not := strings.CutPrefix(line, "not run: "); not {
		t.Skip("NOT RUN: log-in by OpenID Connect in a browser: " + strings.TrimSpace(why))
	}
	return strings.TrimSpace(line)
}

// arrives waits until something is so on a page that the browser is on its way to.
func (b *browser) arrives(js string) {
	b.t.Helper()
	eventually(b.t, func() bool {
		yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+js+")"))
		return err == nil && yes
	}, js)
}

// Somebody logs in at a provider that others have written, on its own pages, from berthd's page and back, over TLS; has the role of their group, and
// is in the list of sessions; signs out, comes again, and is not let in when they are disabled.
func TestLogInByOpenIDConnect(t *testing.T) {
	b := open(t, 1400, 1000, chromedp.Flag("ignore-certificate-errors", true))
	var to atomic.Pointer[url.URL]
	front := httptest.NewTLSServer(&httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to.Load())
		p.Out.Host = p.In.Host
	}})
	t.Cleanup(front.Close)
	issuer := provider(t, front.URL+"/login/corp")
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret-of-basic\n"), 0o600))
	d := shaped(t, 2, nil, func(c *config.Config) {
		c.PublicURL = front.URL
		c.OIDC = []config.OIDC{{
			Name: "corp", Label: "Corp", Issuer: issuer, ClientID: "basic", SecretFile: secret, Scopes: []string{"profile", "email", "groups"}, GroupsClaim: "groups",
			Userinfo: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}}
	})
	at, err := url.Parse(d.URL())
	require.NoError(t, err)
	to.Store(at)
	do := func(c auth.Command) {
		t.Helper()
		c.Program = true
		require.NoError(t, d.Manager().Decide(t.Context(), auth.Name, c))
	}
	do(auth.Command{Bind: &auth.Binding{ID: "ops", Group: "corp:operators", Role: auth.Operator, Scope: auth.Scope{Everything: true}}})

	const button, inside = "#signin-providers [data-provider=corp]", `location.origin === "FRONT" && document.querySelector("#main")?.offsetParent && document.querySelectorAll("#hosts-rows tr").length === 2`
	home := strings.Replace(inside, "FRONT", front.URL, 1)
	b.do(chromedp.Navigate(front.URL))
	b.until(`document.querySelector("` + button + `")?.offsetParent`)
	require.Equal(t, "Sign in with Corp", b.text(button))
	require.Empty(t, eval[[]string](b, unnamed))
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_PROVIDER"))
	b.press(button)
	b.arrives(`location.origin === "` + issuer + `" && document.querySelector("input[name=login]")`)
	b.fill("input[name=login]", "ada")
	b.fill("input[name=password]", "any")
	b.press("button[type=submit]")
	b.arrives(`location.origin === "` + issuer + `" && document.querySelector("input[name=prompt][value=consent]")`)
	b.press("button[type=submit]")
	b.arrives(home)
	require.Contains(t, b.text("#context"), "corp:ada")
	require.True(t, eval[bool](b, `Boolean(document.querySelector("#launch-open").offsetParent)`), "operators launch")
	require.False(t, eval[bool](b, `Boolean(document.querySelector('a[href="/messages"]').offsetParent && document.querySelector('a[href="/users"]').offsetParent)`))
	require.Equal(t, "/", eval[string](b, "location.pathname + location.search + location.hash"))
	require.Empty(t, eval[string](b, "document.cookie"), "no script reads a cookie")

	b.page("/account", "#sessions-list")
	require.Contains(t, b.text("#me-facts"), "operator, everything")
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll("#sessions-list li[data-id]").length`))
	require.Contains(t, b.text("#sessions-list"), "this one")
	b.press("#sign-out")
	b.arrives(`location.pathname === "/" && document.querySelector("` + button + `")?.offsetParent`)

	// At the provider they are still logged in.
	b.press(button)
	b.arrives(home)
	var ada string
	d.Manager().View(func(st *pool.State) {
		p, ok := auth.Of(st).Named("corp:ada")
		require.True(t, ok)
		require.Equal(t, "ada@corp.example", p.Email)
		ada = p.ID
	})
	do(auth.Command{Disable: ada})
	b.do(chromedp.Navigate(front.URL))
	b.arrives(`document.querySelector("` + button + `")?.offsetParent`)
	b.press(button)
	b.arrives(`location.origin === "` + front.URL + `" && document.querySelector("#signin-error .problem")?.offsetParent`)
	require.Contains(t, b.text("#signin-error"), "You are not signed in")
	require.Empty(t, eval[string](b, "location.hash + location.search"))
	b.do(chromedp.Navigate(front.URL + "/login/corp?code=x&state=y"))
	b.arrives(`location.pathname === "/" && document.querySelector("#signin-error .problem")?.offsetParent`)
	require.Contains(t, b.text("#signin-error"), "You are not signed in")
	b.clean("status of 401", "net::ERR_", "status of 404") // the provider's pages ask for a font from elsewhere, and have no icon
}
