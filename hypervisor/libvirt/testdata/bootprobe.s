# The boot sector of the test of KVM, for the GNU assembler; kvm.go holds the bytes that come out of it.
#
# It does once what every 64-bit kernel does all the time, and then switches the machine off: it enters long mode with paging, goes to
# ring 3 by SYSRET, takes timer interrupts there, comes back by SYSCALL, and writes "sleep state S5" to the ACPI power management register
# where SeaBIOS puts it on both of QEMU's PC machines (0x604). A hypervisor on which any of this does not work resets the machine by a
# triple fault, or hangs.
#
#   as --64 bootprobe.s -o bootprobe.o
#   ld -m elf_x86_64 -Ttext 0x7c00 --oformat binary bootprobe.o -o bootprobe.bin

.set CODE, 0x08
.set DATA, 0x10
.set TSS, 0x28

.set PML4, 0x1000
.set PDPT, 0x2000
.set PD, 0x3000
.set IDT, 0x4000
.set TASK, 0x5000

.code16
.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	cld
	mov $PML4, %di			# tables, cleared
	mov $0x5000, %cx
	rep stosb
	movw $PDPT+7, PML4		# the first 2 MiB, for ring 3 too
	movw $PD+7, PDPT
	movl $0x87, PD
	movw $timer, IDT+32*16		# a 64-bit interrupt gate
	movw $CODE, IDT+32*16+2
	movb $0x8e, IDT+32*16+5
	movl $0x7000, TASK+4		# the stack of ring 0
	lgdt gdtr
	lidt idtr
	mov %cr4, %eax
	or $0x20, %al			# PAE
	mov %eax, %cr4
	mov $PML4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx		# EFER: LME, SCE
	rdmsr
	or $0x101, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax		# PG, PE
	mov %eax, %cr0
	ljmp $CODE, $long

.code64
long:
	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %ss
	mov $TSS, %ax
	ltr %ax
	mov $0xc0000081, %ecx		# STAR: ring 0 from CODE, ring 3 from DATA
	xor %eax, %eax
	mov $0x00130008, %edx
	wrmsr
	inc %ecx			# LSTAR
	mov $kernel, %eax
	xor %edx, %edx
	wrmsr
	mov $0x11, %al			# the interrupt controller: vectors from 32, the timer only
	out %al, $0x20
	mov $32, %al
	out %al, $0x21
	mov $4, %al
	out %al, $0x21
	mov $1, %al
	out %al, $0x21
	mov $0xfe, %al
	out %al, $0x21
	mov $0xff, %al
	out %al, $0xa1
	xor %ebx, %ebx
	mov $user, %ecx
	mov $0x202, %r11
	mov $0x7800, %esp
	sysretq

user:
	cmp $3, %ebx			# three ticks of the timer
	jb user
	syscall

kernel:
	mov $0x604, %dx
	mov $0x2000, %ax
	out %ax, %dx
1:	hlt
	jmp 1b

timer:
	push %rax
	inc %ebx
	mov $0x20, %al
	out %al, $0x20
	pop %rax
	iretq

.align 8
gdt:
	.quad 0
	.quad 0x00209a0000000000	# CODE
	.quad 0x0000920000000000	# DATA
	.quad 0x0000f20000000000	# data of ring 3
	.quad 0x0020fa0000000000	# code of ring 3
	.quad 0x0000890050000067	# TSS, at TASK
	.quad 0
gdtr:
	.word . - gdt - 1
	.long gdt
idtr:
	.word 0xfff
	.long IDT

.org 510
	.word 0xaa55
