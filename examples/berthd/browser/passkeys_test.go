package browser_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// authenticator gives a browser one that knows who uses it, and always has them there.
func (b *browser) authenticator() webauthn.AuthenticatorID {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{})
	require.NoError(b.t, err)
	made, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	require.NoError(b.t, err)
	return made.AuthenticatorID
}

// Somebody registers a passkey on the page of their account, and signs in with it; not while they are disabled, nor after it is removed; and where
// browsers have no passkeys none is offered.
func TestPasskeysOnTheirPages(t *testing.T) {
	b := open(t, 1400, 1000)
	d := serve(t, 2)
	password := person(t, d, "ada", "--role", "admin")
	device := b.authenticator()
	b.do(chromedp.Navigate(d.URL()))
	b.logIn("ada", password, "")
	b.until(`document.querySelector("#main").offsetParent`)
	b.page("/account", "#passkeys-where")
	require.Contains(t, b.text("#passkeys-where"), "They work on http://localhost:")
	require.False(t, eval[bool](b, `Boolean(document.querySelector("#passkeys-add").offsetParent)`))
	b.press("#sign-out")
	b.until(`document.querySelector("#signin")?.offsetParent`)
	require.False(t, eval[bool](b, `Boolean(document.querySelector("#login-passkey").offsetParent)`))

	b.do(chromedp.Navigate(strings.Replace(d.URL(), "127.0.0.1", "localhost", 1)))
	b.until(`document.querySelector("#login-passkey")?.offsetParent`)
	require.Empty(t, eval[[]string](b, unnamed))
	b.press("#login-passkey")
	b.until(`document.querySelector("#signin-error .problem")?.textContent.includes("No passkey was given")`)
	b.logIn("ada", password, "")
	b.until(`document.querySelector("#main").offsetParent`)
	b.page("/account", "#passkeys-add")
	b.press("#passkeys-add")
	b.until(`document.querySelector("#passkey-current")`)
	b.fill("#passkey-name", "<i>laptop</i>")
	b.fill("#passkey-current", "wrong")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")`)
	b.fill("#passkey-current", password)
	require.Empty(t, eval[[]string](b, unnamed))
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#confirm").open && document.querySelector("#passkeys-list b")?.textContent === "<i>laptop</i>"`)
	known, err := chromedp.Call(b.ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: device})
	require.NoError(t, err)
	require.Len(t, known.Credentials, 1)
	require.Equal(t, "localhost", known.Credentials[0].RpID)
	require.Empty(t, eval[[]string](b, unnamed))
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_PASSKEYS"))

	// A device registers once; its passkey has another name.
	b.press("#passkeys-add")
	b.until(`document.querySelector("#passkey-current")`)
	b.fill("#passkey-name", "again")
	b.fill("#passkey-current", password)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")?.textContent.includes("has one already")`)
	b.press("#confirm .buttons button[type=button]")
	b.press("#passkeys-list [data-verb=rename]")
	b.until(`document.querySelector("#passkey-name")`)
	b.fill("#passkey-name", "laptop")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#passkeys-list b")?.textContent === "laptop"`)

	usePasskey := func() {
		b.press("#sign-out")
		b.until(`document.querySelector("#login-passkey")?.offsetParent`)
		b.press("#login-passkey")
	}
	refused := func() {
		t.Helper()
		b.until(`document.querySelector("#signin-error .problem")?.textContent.includes("nobody signs in with this passkey")`)
	}
	usePasskey()
	b.until(`document.querySelector("#main")?.offsetParent && document.querySelectorAll("#hosts-rows tr").length === 2`)
	require.Contains(t, b.text("#context"), "ada")
	b.page("/account", "#passkeys-add")
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll("#sessions-list .chip").length`), "it is listed, and this one")

	var id string
	d.Manager().View(func(st *pool.State) {
		p, _ := auth.Of(st).Named("ada")
		id = p.ID
	})
	require.NoError(t, d.Manager().Decide(t.Context(), auth.Name, auth.Command{Program: true, Disable: id}))
	b.do(chromedp.Navigate(eval[string](b, "location.origin")))
	b.until(`document.querySelector("#login-passkey")?.offsetParent`)
	b.press("#login-passkey")
	refused()
	require.NoError(t, d.Manager().Decide(t.Context(), auth.Name, auth.Command{Program: true, Enable: id}))
	b.press("#login-passkey")
	b.until(`document.querySelector("#main")?.offsetParent`)

	// An admin sees how many somebody has, and removes those of others; its owner removes it, and stays signed in in this browser.
	b.page("/users", "#users-list")
	b.until(`document.querySelector('#users-list li[data-name="ada"]')?.textContent.includes("1 passkey")`)
	person(t, d, "bob")
	var bob string
	d.Manager().View(func(st *pool.State) {
		p, _ := auth.Of(st).Named("bob")
		bob = p.ID
	})
	require.NoError(t, d.Manager().Decide(t.Context(), auth.Name, auth.Command{Program: true, Passkey: &auth.Passkey{ID: "p", Principal: bob, Credential: []byte("c"), PublicKey: []byte("k"), Name: "<i>phone</i>"}}))
	b.page("/users", "#users-list")
	const row = `#users-list li[data-name="bob"]`
	b.until(`document.querySelector('` + row + ` [data-verb=passkeys]')`)
	b.press(row + " [data-verb=passkeys]")
	b.until(`document.querySelector("#tokens").open && document.querySelector("#tokens li b").textContent === "<i>phone</i>"`)
	require.False(t, eval[bool](b, `Boolean(document.querySelector("#tokens [data-verb=rename]"))`), "which is for its owner")
	require.Empty(t, eval[[]string](b, unnamed))
	b.press("#tokens [data-verb=remove]")
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#tokens").open && !document.querySelector('` + row + ` [data-verb=passkeys]')`)
	b.page("/account", "#passkeys-add")
	b.press("#passkeys-list [data-verb=remove]")
	b.until(`document.querySelector("#passkey-current")`)
	b.fill("#passkey-current", password)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#passkeys-list .empty")`)
	require.Equal(t, "0", b.text("#passkeys-count"))
	usePasskey()
	refused()
	b.logIn("ada", password, "")
	b.until(`document.querySelector("#main")?.offsetParent`)
	b.clean("status of 401", "status of 422")
}
