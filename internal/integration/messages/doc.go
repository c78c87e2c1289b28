// Package messages has nothing but tests: what the receivers of package notify send, judged by others than those who wrote them.
//
// Requests to PagerDuty, Twilio and Jira are judged by prism, an npm package, with the OpenAPI files that the services publish, and by tables of
// our own (tables_test.go), which know limits that the files do not, and judge alone where prism or a file is missing. Slack's messages go
// through the types of slack-go, webhooks through the library of Standard Webhooks. What hostile names and texts become is read back as each
// channel reads it, and deliveries go through a network that fails, made with toxiproxy.
//
// A judge that takes everything is none: each is given requests that are broken, which it has to refuse.
package messages
