package telegram_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/telegram"
)

func ExampleNew() {
	n, err := telegram.New(telegram.Config{Token: notify.NewSecret("123456:ABC-def"), Chat: "@berth_alerts"})
	fmt.Println(n != nil, err)
	_, err = telegram.New(telegram.Config{Token: notify.NewSecret("123456:ABC-def"), Chat: "alerts"})
	fmt.Println(err)
	// Output:
	// true <nil>
	// configure receiver: chat invalid: the number of a chat, or "@" and the name of a channel
}
