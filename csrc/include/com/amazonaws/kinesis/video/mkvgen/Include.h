/* mkvgen/Include.h — the path by which programs written for AWS's producer include its MKV generator: pic.h has the
 * frames, the tracks and the functions for codec private data. */
#ifndef KVSPIC_COM_MKVGEN_INCLUDE_H
#define KVSPIC_COM_MKVGEN_INCLUDE_H

#include "pic.h"

#endif
