// SPDX-License-Identifier: Apache-2.0
// The floor: what it costs to start a static program that does nothing, and to wait for it.

int main(void)
{
    return 0;
}
