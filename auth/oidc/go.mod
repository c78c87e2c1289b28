module github.com/berthage/berthage/auth/oidc

go 1.25.0

replace github.com/berthage/berthage => ../..

require (
	github.com/berthage/berthage v0.0.0
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	golang.org/x/oauth2 v0.36.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
