package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// inbox is a mail server and a web server, to which berthd tells of the alert.
type inbox struct {
	secret string // of the webhooks
	ca     string // which has signed the mail server's certificate, in PEM

	mail   *smtp.Server
	web    *http.Server
	mailAt string
	webAt  string

	mu    sync.Mutex
	mails []*mail.Message
	texts []string // of the mails
	hooks []hook
	wrong error
}

// hook is what this program reads of a webhook.
type hook struct {
	Status   string `json:"status"`
	Incident string `json:"incident"`
	Alerts   []struct {
		Status string            `json:"status"`
		Labels map[string]string `json:"labels"`
		Value  string            `json:"value"`
	} `json:"alerts"`
}

const mailPassword = "one that berthd is given as a secret"

func newInbox() (*inbox, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	b := &inbox{secret: "whsec_" + base64.StdEncoding.EncodeToString(key)}
	certificate, err := b.certificate()
	if err != nil {
		return nil, err
	}
	b.mail = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{box: b}, nil }))
	b.mail.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	b.mail.Domain = "localhost"
	b.web = &http.Server{Handler: http.HandlerFunc(b.hook), ReadHeaderTimeout: 10 * time.Second}
	for _, s := range []struct {
		at    *string
		serve func(net.Listener) error
	}{{&b.mailAt, b.mail.Serve}, {&b.webAt, b.web.Serve}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
		*s.at = l.Addr().String()
		go func() { _ = s.serve(l) }()
	}
	return b, nil
}

func (b *inbox) close() error { return errors.Join(b.mail.Close(), b.web.Close()) }

// certificate makes one for this machine.
func (b *inbox) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	b.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// session is a conversation of the mail server.
type session struct {
	box  *inbox
	user bool
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "berthd" || password != mailPassword {
			return smtp.ErrAuthFailed
		}
		s.user = true
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.user {
		return smtp.ErrAuthRequired
	}
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	whole, err := io.ReadAll(io.LimitReader(r, 10<<20))
	if err != nil {
		return err
	}
	m, err := mail.ReadMessage(bytes.NewReader(whole))
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "no mail"}
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.mails, s.box.texts = append(s.box.mails, m), append(s.box.texts, string(whole))
	return nil
}

// Reset implements smtp.Session.
func (s *session) Reset() {}

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// hook takes a webhook if its signature is right.
func (b *inbox) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 10<<20))
	var judge *standardwebhooks.Webhook
	if err == nil {
		judge, err = standardwebhooks.NewWebhook(b.secret)
	}
	if err == nil {
		err = judge.Verify(body, r.Header)
	}
	var h hook
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.wrong = errors.Join(b.wrong, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.hooks = append(b.hooks, h)
}

// tellUs makes berthd tell the inbox of every alert.
func (w *world) tellUs(ctx context.Context) error {
	_, port, err := net.SplitHostPort(w.inbox.mailAt)
	if err != nil {
		return err
	}
	for name, receiver := range map[string]map[string]any{
		"mail": {"type": "email", "settings": map[string]any{
			"server": "localhost:" + port, "username": "berthd", "from": "berthd <berthd@berth.example>", "to": []string{"ops@berth.example"}, "ca": w.inbox.ca,
		}, "secrets": map[string]any{"password": mailPassword}},
		"hook": {"type": "webhook", "secrets": map[string]any{"url": "http://" + w.inbox.webAt + "/", "signing": []string{w.inbox.secret}}},
	} {
		if err := w.daemon.Call(ctx, http.MethodPut, "/api/v1/receivers/"+name, receiver, nil); err != nil {
			return err
		}
	}
	routes := map[string]any{"root": map[string]any{
		"receivers": []string{"mail", "hook"}, "group_by": []string{"alertname", "vm"}, "wait": "1s", "interval": "5s",
	}}
	return w.daemon.Call(ctx, http.MethodPut, "/api/v1/routes", routes, nil)
}

// arrived waits until the alert of an instance has arrived with a status, by both ways, and checks what has.
func (w *world) arrived(ctx context.Context, name, status string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		done, err := w.inbox.has(name, status)
		if err != nil || done {
			return err
		}
		if err := testbed.Pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("nothing arrives that says %s: %w\n%s", status, err, w.daemon.Tail())
		}
	}
}

func (b *inbox) has(name, status string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrong != nil {
		return false, fmt.Errorf("a webhook is wrong: %w", b.wrong)
	}
	var mine []hook
	for _, h := range b.hooks {
		if len(h.Alerts) > 0 && h.Alerts[0].Labels["vm"] == name {
			mine = append(mine, h)
		}
	}
	var thread []*mail.Message
	var text string
	for n, m := range b.mails {
		if strings.Contains(m.Header.Get("Subject"), name) || strings.Contains(b.texts[n], name) {
			thread, text = append(thread, m), b.texts[n]
		}
	}
	if len(mine) == 0 || len(thread) == 0 || mine[len(mine)-1].Status != status || thread[len(thread)-1].Header.Get("X-Berthage-Status") != status {
		return false, nil
	}
	last := mine[len(mine)-1]
	if last.Incident != mine[0].Incident || last.Alerts[0].Value == "" {
		return false, fmt.Errorf("the webhook is not of the same incident, or has no value: %+v", last)
	}
	if m := thread[len(thread)-1]; len(thread) > 1 && !strings.Contains(m.Header.Get("References"), thread[0].Header.Get("Message-Id")) {
		return false, fmt.Errorf("the mail is not in the thread of the first one: References: %s", m.Header.Get("References"))
	}
	fmt.Printf("%s: a mail (%q, %d in the thread, %d bytes) and a signed webhook of %s with the value %s\n",
		status, thread[len(thread)-1].Header.Get("Subject"), len(thread), len(text), name, last.Alerts[0].Value)
	return true, nil
}
