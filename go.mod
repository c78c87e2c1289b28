module github.com/berthage/berthage

go 1.25.0

require (
	github.com/digitalocean/go-libvirt v0.0.0-20260814190004-1a83157e1858
	github.com/kdomanski/iso9660 v0.4.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/mock v0.6.0
	golang.org/x/crypto v0.54.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
