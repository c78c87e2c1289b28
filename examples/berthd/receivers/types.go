package receivers

import (
	"crypto/x509"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/discord"
	"github.com/berthage/berthage/notify/email"
	"github.com/berthage/berthage/notify/jira"
	"github.com/berthage/berthage/notify/pagerduty"
	"github.com/berthage/berthage/notify/shoutrrr"
	"github.com/berthage/berthage/notify/slack"
	"github.com/berthage/berthage/notify/teams"
	"github.com/berthage/berthage/notify/telegram"
	"github.com/berthage/berthage/notify/twilio"
	"github.com/berthage/berthage/notify/webhook"
	"github.com/berthage/berthage/pool"
)

// Types returns all types, by name.
func Types() []Type {
	return []Type{
		discordType(), emailType(), smsType(), jiraType(), pagerDutyType(), shoutrrrType(), slackType(), slackWebhookType(), teamsType(), telegramType(), twilioType(), webhookType(),
	}
}

func secretURL(about, example string) Field {
	return Field{Name: "url", Kind: URL, Required: true, Secret: true, Where: true, About: about, Example: example}
}

func endpoint(public string) Field {
	return Field{Name: "endpoint", Kind: URL, Where: true, About: "Where the service is; empty: " + public, Example: public}
}

func body() Field {
	return Field{Name: "template", Kind: Template, About: "What stands below the title, in Slack's mrkdwn; empty: a line for each alert", Example: "{{range .Firing}}• {{.Labels.vm}} {{.Value}}\n{{end}}"}
}

func discordType() Type {
	return Type{
		Name: "discord", About: "A channel of Discord, by a webhook",
		Fields: []Field{secretURL("The webhook's URL", "https://discord.com/api/webhooks/ID/TOKEN")},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			return discord.New(discord.Config{URL: v.secret("url"), HTTP: m.client()})
		},
	}
}

// mailFields are what mails and text messages by mail have in common.
func mailFields(to string) []Field {
	return []Field{
		{Name: "server", Kind: Text, Required: true, Where: true, About: "Name of the mail server, with a port if it is an unusual one", Example: "smtp.example.com"},
		{Name: "security", Kind: Text, Choices: []string{string(email.StartTLS), string(email.Implicit), string(email.InsecureLoopback)}, About: "How the connection is protected; empty: starttls. insecure-loopback is for a relay on this machine"},
		{Name: "ca", Kind: Template, Where: true, About: "Certificates in PEM that may have signed the server's; empty: those that this machine trusts"},
		{Name: "username", Kind: Text, About: "Empty: no authentication"},
		{Name: "password", Kind: Text, Secret: true, About: "Of the user"},
		{Name: "hello", Kind: Text, About: "By which name the server is greeted", Example: "berth.example.com"},
		{Name: "from", Kind: Text, Required: true, About: "Whose mails they are", Example: "Berth <alerts@example.com>"},
		{Name: "to", Kind: List, Required: true, About: to, Example: "ops@example.com"},
	}
}

// mail reads them.
func (m *Maker) mail(v values) (email.Config, error) {
	c := email.Config{
		Server: v.text("server"), Security: email.Security(v.text("security")), Username: v.text("username"), Password: v.secret("password"), Hello: v.text("hello"),
		From: v.text("from"), To: v.list("to"), Client: notify.NewClient(notify.ClientConfig{Guard: m.Guard, Timeout: time.Minute}),
	}
	if pem := v.text("ca"); pem != "" {
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return c, notify.Invalid("ca", "certificates in PEM")
		}
	}
	return c, nil
}

func emailType() Type {
	return Type{
		Name: "email", About: "Mails, which list every alert; those of an incident are a thread",
		Fields: append(mailFields("Addresses; everyone sees everyone"),
			Field{Name: "reply_to", Kind: Text, About: "Whom an answer goes to; empty: whose mails they are", Example: "ops@example.com"},
			Field{Name: "list_id", Kind: Text, About: "Of the header List-Id, by which filters sort", Example: "alerts.example.com"},
			Field{Name: "subject", Kind: Template, About: "Of the subject; what changes in it breaks threads. Empty: what the group is made by", Example: "{{.GroupLabels.alertname}}"},
			Field{Name: "text", Kind: Template, About: "Of the plain text; empty: a line for each alert", Example: "{{range .Firing}}{{.Summary}}\n{{end}}"},
			Field{Name: "html", Kind: Template, About: "Of the HTML; empty: a table", Example: "<ul>{{range .Firing}}<li>{{.Summary}}{{end}}</ul>"},
		),
		make: func(m *Maker, v values) (notify.Notifier, error) {
			c, err := m.mail(v)
			if err != nil {
				return nil, err
			}
			c.ReplyTo, c.ListID = v.text("reply_to"), v.text("list_id")
			for _, t := range []struct {
				name  string
				to    **notify.Template
				parse func(string) (*notify.Template, error)
			}{{"subject", &c.Look.Subject, plainTemplate}, {"text", &c.Look.Text, plainTemplate}, {"html", &c.Look.HTML, notify.ParseHTML}} {
				if text := v.text(t.name); text != "" {
					if *t.to, err = t.parse(text); err != nil {
						return nil, &pool.Error{Op: "configure receiver", Kind: pool.ErrInvalid, Field: t.name, Want: "a template", Cause: err}
					}
				}
			}
			return email.New(c)
		},
	}
}

func plainTemplate(text string) (*notify.Template, error) { return notify.ParseText(text, nil) }

func smsType() Type {
	return Type{
		Name: "email-sms", About: "Text messages to telephones, by a gateway that makes them of mails",
		Fields: append(mailFields("Addresses at the gateway"),
			Field{Name: "most", Kind: Number, as: "sms.most", About: "Characters of a message, 20 to 1600; absent: 160"},
			Field{Name: "subject", Kind: Text, About: "As the gateway wants it; empty: there is none"},
		),
		make: func(m *Maker, v values) (notify.Notifier, error) {
			c, err := m.mail(v)
			if err != nil {
				return nil, err
			}
			most := v.number("most")
			if most < 0 || most > twilio.MaxBody {
				most = -1 // which is refused
			}
			c.SMS = &email.SMS{Most: int(most), Subject: v.text("subject")}
			return email.New(c)
		},
	}
}

func jiraType() Type {
	return Type{
		Name: "jira", About: "An issue of Jira for each incident",
		Fields: []Field{
			{Name: "url", Kind: URL, Required: true, Where: true, About: "Where Jira is", Example: "https://NAME.atlassian.net"},
			{Name: "cloud", Kind: Bool, About: "Jira Cloud, else Data Center"},
			{Name: "user", Kind: Text, About: "The address of the account whose token it is; empty: a personal access token of Data Center"},
			{Name: "token", Kind: Text, Required: true, Secret: true, About: "An API token, or a personal access token"},
			{Name: "project", Kind: Text, Required: true, About: "Key of the project", Example: "OPS"},
			{Name: "issue_type", Kind: Text, About: "Empty: Task"},
			{Name: "labels", Kind: List, About: "Of issues, beside the one that the incident is found by"},
			{Name: "resolve", Kind: Text, About: "Name of the transition at the end; empty: a person closes the issue", Example: "Done"},
			{Name: "reopen", Kind: Text, About: "Name of the transition back; empty: a new issue is created", Example: "Reopen"},
			{Name: "reopen_within", Kind: Duration, About: "How long after its end an issue is reopened", Example: "24h"},
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			return jira.New(jira.Config{
				URL: v.text("url"), Cloud: v.yes("cloud"), User: v.text("user"), Token: v.secret("token"),
				Project: v.text("project"), IssueType: v.text("issue_type"), Labels: v.list("labels"),
				Resolve: v.text("resolve"), Reopen: v.text("reopen"), ReopenWithin: v.duration("reopen_within"), HTTP: m.client(),
			})
		},
	}
}

func pagerDutyType() Type {
	return Type{
		Name: "pagerduty", About: "A service of PagerDuty, by its Events API v2",
		Fields: []Field{
			{Name: "routing_key", Kind: Text, Required: true, Secret: true, About: "The integration key of the service: 32 letters and digits"},
			{Name: "webhook_secret", Kind: List, Secret: true, About: "Of a V3 webhook subscription to /hooks/pagerduty/ and the receiver's name: who acknowledges in PagerDuty acknowledges here; two while it is changed"},
			{Name: "source", Kind: Text, About: "What is named as the source of events; empty: berthage"},
			endpoint(pagerduty.Endpoint),
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			return pagerduty.New(pagerduty.Config{RoutingKey: v.secret("routing_key"), Source: v.text("source"), Endpoint: v.text("endpoint"), HTTP: m.client()})
		},
	}
}

// shoutrrrType has those of its services of which a Guard sees where they connect.
func shoutrrrType() Type {
	return Type{
		Name: "shoutrrr", About: "ntfy, Gotify, Pushover, Mattermost or Rocket.Chat, by the library shoutrrr",
		Fields: []Field{
			{Name: "url", Kind: Text, Required: true, Secret: true, Where: true, About: "The service's URL as shoutrrr has it", Example: "ntfy://:TOKEN@ntfy.example/ops"},
			{Name: "most", Kind: Number, About: "Characters of a message, 20 to 4000; absent: 1000"},
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			most := v.number("most")
			if most < 0 || most > shoutrrr.MaxText {
				most = -1 // which is refused
			}
			return shoutrrr.New(shoutrrr.Config{URL: v.secret("url"), Most: int(most), HTTP: m.client()})
		},
	}
}

// button is the secret by which it is known that a button was pressed.
func button() Field {
	return Field{Name: "signing_secret", Kind: Text, Secret: true, About: "Of the Slack app: puts a button under what fires by which it is acknowledged, where Slack reaches berthd at /hooks/slack"}
}

func slackType() Type {
	return Type{
		Name: "slack", About: "A channel of Slack, by a bot: one message for each incident, which is changed, with a thread",
		Fields: []Field{
			{Name: "channel", Kind: Text, Required: true, About: "Id of the channel, of which the bot is a member", Example: "C0123456789"},
			{Name: "token", Kind: Text, Required: true, Secret: true, About: "The bot's token, with the scope chat:write", Example: "xoxb-..."},
			button(),
			body(),
			endpoint(slack.Endpoint),
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			look, err := slackLook(v)
			if err != nil {
				return nil, err
			}
			return slack.NewBot(slack.BotConfig{
				Token: v.secret("token"), Channel: v.text("channel"), Notes: m.notes(v.receiver), Look: look, Endpoint: v.text("endpoint"), HTTP: m.client(),
			})
		},
	}
}

func slackWebhookType() Type {
	return Type{
		Name: "slack-webhook", About: "A channel of Slack, by an incoming webhook: a message for everything",
		Fields: []Field{secretURL("The webhook's URL", "https://hooks.slack.com/services/..."), button(), body()},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			look, err := slackLook(v)
			if err != nil {
				return nil, err
			}
			return slack.NewWebhook(slack.WebhookConfig{URL: v.secret("url"), Look: look, HTTP: m.client()})
		},
	}
}

func slackLook(v values) (look slack.Look, err error) {
	look.Acknowledge = len(v.secrets["signing_secret"]) > 0
	if text := v.text("template"); text != "" {
		look.Body, err = notify.ParseText(text, slack.Escape)
	}
	return look, err
}

func teamsType() Type {
	return Type{
		Name: "teams", About: "A channel or chat of Microsoft Teams, by a webhook of Workflows",
		Fields: []Field{secretURL("The workflow's URL", "https://...logic.azure.com/workflows/...")},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			return teams.New(teams.Config{URL: v.secret("url"), HTTP: m.client()})
		},
	}
}

func telegramType() Type {
	return Type{
		Name: "telegram", About: "A chat of Telegram, by a bot",
		Fields: []Field{
			{Name: "chat", Kind: Text, Required: true, About: "Number of the chat, or @ and the name of a channel", Example: "@channel"},
			{Name: "token", Kind: Text, Required: true, Secret: true, About: "The bot's token", Example: "123456:ABC..."},
			{Name: "topic", Kind: Number, About: "Of a group with topics"},
			endpoint(telegram.Endpoint),
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			return telegram.New(telegram.Config{
				Token: v.secret("token"), Chat: v.text("chat"), Topic: v.number("topic"), Notes: m.notes(v.receiver), Endpoint: v.text("endpoint"), HTTP: m.client(),
			})
		},
	}
}

func twilioType() Type {
	return Type{
		Name: "twilio", About: "Text messages to a telephone, by Twilio; they cost money",
		Fields: []Field{
			{Name: "account", Kind: Text, Required: true, About: "SID of the account", Example: "AC..."},
			{Name: "key", Kind: Text, About: "SID of an API key; empty: the secret is the account's token", Example: "SK..."},
			{Name: "secret", Kind: Text, Required: true, Secret: true, About: "Of the API key, or the account's token"},
			{Name: "from", Kind: Text, Required: true, About: "A number, or the SID of a messaging service", Example: "+15005550006"},
			{Name: "to", Kind: Text, Required: true, About: "A number", Example: "+15005550006"},
			{Name: "most", Kind: Number, About: "Characters of a message, 20 to 1600; absent: 320"},
			endpoint(twilio.Endpoint),
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			most := v.number("most")
			if most < 0 || most > twilio.MaxBody {
				most = -1 // which is refused
			}
			return twilio.New(twilio.Config{
				Account: v.text("account"), Key: v.text("key"), Secret: v.secret("secret"), From: v.text("from"), To: v.text("to"), Most: int(most),
				Endpoint: v.text("endpoint"), HTTP: m.client(),
			})
		},
	}
}

func webhookType() Type {
	return Type{
		Name: "webhook", About: "A program, by HTTP: Alertmanager's JSON of version 4, signed as Standard Webhooks say",
		Fields: []Field{
			secretURL("Where it listens", "https://receiver.example/alerts"),
			{Name: "signing", Kind: List, Secret: true, as: "secrets", About: "Secrets that requests are signed with, the newest first: whsec_ and 24 to 64 bytes in base64; none: they are not signed", Example: "whsec_..."},
			{Name: "headers", Kind: List, Secret: true, as: "header", About: "Headers of each request", Example: "Authorization: Bearer ..."},
		},
		make: func(m *Maker, v values) (notify.Notifier, error) {
			c := webhook.Config{URL: v.secret("url"), Secrets: v.secrets["signing"], HTTP: m.client()}
			for _, h := range v.secrets["headers"] {
				name, value, ok := strings.Cut(h.Reveal(), ":")
				if !ok {
					return nil, notify.Invalid("header", "each as Name: value")
				}
				if c.Header == nil {
					c.Header = make(map[string]notify.Secret)
				}
				c.Header[strings.TrimSpace(name)] = notify.NewSecret(strings.TrimSpace(value))
			}
			return webhook.New(c)
		},
	}
}
