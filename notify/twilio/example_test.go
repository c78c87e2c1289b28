package twilio_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/twilio"
)

func ExampleNew() {
	c := twilio.Config{Account: "AC0123456789abcdef0123456789abcdef", Secret: notify.NewSecret("token"), From: "+15005550006", To: "0555 123"}
	_, err := twilio.New(c)
	fmt.Println(err)
	// Output:
	// configure receiver: to invalid: "+" and 2 to 15 digits
}
