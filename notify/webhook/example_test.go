package webhook_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/webhook"
)

// While a secret is being changed there are two.
func ExampleNew() {
	n, err := webhook.New(webhook.Config{
		URL: notify.NewSecret("https://hooks.example/berthage"),
		Secrets: []notify.Secret{
			notify.NewSecret("whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3"),
			notify.NewSecret("whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xk"),
		},
	})
	fmt.Println(n != nil, err)
	_, err = webhook.New(webhook.Config{URL: notify.NewSecret("https://hooks.example"), Secrets: []notify.Secret{notify.NewSecret("secret")}})
	fmt.Println(err)
	// Output:
	// true <nil>
	// configure receiver: secrets[0] invalid: "whsec_" and 24 to 64 bytes in base64
}
