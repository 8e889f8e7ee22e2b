/* client/Include.h — the path by which programs written for AWS's producer include its client library: pic.h. */
#ifndef KVSPIC_COM_CLIENT_INCLUDE_H
#define KVSPIC_COM_CLIENT_INCLUDE_H

#include "pic.h"

#endif
